#![no_main]
//! The text of a configuration, beside the weights of one of several models, which the first byte chooses.

use libfuzzer_sys::fuzz_target;
use vit_gpu::internals::checkpoint::Checkpoint;

macro_rules! weights {
    ($($model:literal),*) => {
        [$(include_bytes!(concat!("../../tests/goldens/models/", $model)).as_slice()),*]
    };
}

const WEIGHTS: [&[u8]; 8] = weights![
    "hf_vit/model.safetensors",
    "timm_plain/model.safetensors",
    "hf_clip_vision/model.safetensors",
    "hf_dinov2/model.safetensors",
    "open_clip_visual/open_clip_model.safetensors",
    "torchvision/model.safetensors",
    "luc_1_5/model.safetensors",
    "jax_vit/vit.npz"
];

fuzz_target!(|data: (u8, &str)| {
    let (which, text) = data;
    let _ = Checkpoint::from_bytes("fuzz", WEIGHTS[usize::from(which) % WEIGHTS.len()].to_vec(), Some(text), None);
});
