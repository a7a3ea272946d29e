#![no_main]
//! A weights file: its header, and values of its tensors. An array of NumPy's is put into an archive with its right checksum,
//! so that the reader of arrays is reached with any content.

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};

fn archive(array: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = array.len() % 2 == 0;
    let method = if stored { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
    zip.start_file("a.npy", zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
    zip.write_all(array).unwrap();
    zip.finish().unwrap().into_inner()
}

fuzz_target!(|data: &[u8]| {
    let archived = data.starts_with(b"\x93NUMPY").then(|| archive(data));
    let data = archived.as_deref().unwrap_or(data);
    if let Ok(tensors) = Tensors::from_bytes("fuzz", data.to_vec()) {
        let names: Vec<String> = tensors.shapes().take(8).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let _ = tensors.values(&name);
            assert!(tensors.read(&name, usize::MAX, &mut [0.0; 2]).is_err());
        }
    }
    let _ = Checkpoint::from_bytes("fuzz", data.to_vec(), None, None);
});
