#![no_main]
//! The index of a sharded model, beside two of its shards.

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vit_gpu::internals::checkpoint::Checkpoint;

const SHARDS: [(&str, &[u8]); 2] = [
    (
        "model-00001-of-00003.safetensors",
        include_bytes!("../../tests/goldens/models/hf_vit_sharded/model-00001-of-00003.safetensors"),
    ),
    (
        "model-00002-of-00003.safetensors",
        include_bytes!("../../tests/goldens/models/hf_vit_sharded/model-00002-of-00003.safetensors"),
    ),
];

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("vit-gpu-fuzz-index-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in SHARDS {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        folder
    });
    std::fs::write(folder.join("model.safetensors.index.json"), data).unwrap();
    let _ = Checkpoint::open(folder.to_str().unwrap());
});
