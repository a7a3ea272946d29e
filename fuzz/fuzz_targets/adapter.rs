#![no_main]
//! The text of an `adapter_config.json`, beside the weights of one of several adapters, which the first byte chooses, and their base.

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vit_gpu::internals::checkpoint::Checkpoint;

macro_rules! files {
    ($adapter:literal) => {
        [
            ("adapter_model.safetensors", include_bytes!(concat!("../../tests/goldens/models/", $adapter, "/adapter_model.safetensors")).as_slice()),
            ("base/model.safetensors", include_bytes!(concat!("../../tests/goldens/models/", $adapter, "/base/model.safetensors")).as_slice()),
            ("base/config.json", include_bytes!(concat!("../../tests/goldens/models/", $adapter, "/base/config.json")).as_slice()),
        ]
    };
}

const ADAPTERS: [[(&str, &[u8]); 3]; 3] = [files!("peft_vit"), files!("peft_dinov2_dora"), files!("peft_timm")];

static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// A folder for each adapter, without its configuration.
fn folders() -> Vec<PathBuf> {
    let all = std::env::temp_dir().join(format!("vit-gpu-fuzz-adapter-{}", std::process::id()));
    let each = ADAPTERS.iter().enumerate().map(|(i, files)| {
        let folder = all.join(i.to_string());
        std::fs::create_dir_all(folder.join("base")).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        folder
    });
    each.collect()
}

fuzz_target!(|data: (u8, &str)| {
    let (which, text) = data;
    let folders = FOLDERS.get_or_init(folders);
    let folder = &folders[usize::from(which) % folders.len()];
    std::fs::write(folder.join("adapter_config.json"), text).unwrap();
    let _ = Checkpoint::open(folder.to_str().unwrap());
});
