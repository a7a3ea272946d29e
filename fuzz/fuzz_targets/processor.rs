#![no_main]
//! A processor's configuration, beside a model that takes any.

use libfuzzer_sys::fuzz_target;
use vit_gpu::checkpoint::Checkpoint;

const WEIGHTS: &[u8] = include_bytes!("../../tests/goldens/models/hf_dinov2_resampled/model.safetensors");
const CONFIG: &str = include_str!("../../tests/goldens/models/hf_dinov2_resampled/config.json");

fuzz_target!(|text: &str| {
    let _ = Checkpoint::from_bytes("fuzz", WEIGHTS.to_vec(), Some(CONFIG), Some(text));
});
