#![no_main]
//! A weights file: its header, and values of its tensors.

use libfuzzer_sys::fuzz_target;
use vit_gpu::checkpoint::{Checkpoint, Tensors};

fuzz_target!(|data: &[u8]| {
    if let Ok(tensors) = Tensors::from_bytes("fuzz", data.to_vec()) {
        let names: Vec<String> = tensors.shapes().take(8).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let _ = tensors.values(&name);
        }
    }
    let _ = Checkpoint::from_bytes("fuzz", data.to_vec(), None, None);
});
