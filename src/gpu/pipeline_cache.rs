//! Keeps the code that the driver compiled on disk for the next start. This is for Vulkan only: wgpu offers it nowhere else.
//! Metal and DX12 drivers keep a cache of their own, but FXC or DXC, which come before DX12's driver, compile at every start.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cache;
use crate::device::Adapter;

/// A driver's pipeline cache and the file it is kept in.
pub struct PipelineCacheFile {
    cache: Option<wgpu::PipelineCache>,
    file: Option<PathBuf>,
    origin: u128,
    new: AtomicBool,
}

impl PipelineCacheFile {
    pub fn open(device: &wgpu::Device, report: &Adapter) -> PipelineCacheFile {
        let file = cache::file(report, "pipelines.bin");
        let origin = origin(report);
        let able = device.features().contains(wgpu::Features::PIPELINE_CACHE) && file.is_some();
        let content = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let data = content.as_deref().and_then(|content| unpack(content, origin));
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("vit-gpu"), data, fallback: true };
        // SAFETY: the data must be what `get_data` gave for this adapter and driver, and this file holds nothing else:
        // `save` writes it whole, beneath a header with the adapter, its driver, the versions of wgpu and of this crate,
        // the length and a checksum. `unpack` gives no data unless all of these are right, so a file that was cut, mixed
        // up or damaged is not used. wgpu and the driver then compare headers of their own. What remains is somebody who
        // forges a file with a right checksum; the folder is the user's own, so that could only be somebody who may run
        // code as this user already.
        #[expect(unsafe_code, reason = "a driver's compiled code is taken from a file")]
        let cache = able.then(|| unsafe { device.create_pipeline_cache(&descriptor) });
        PipelineCacheFile { cache, file, origin, new: AtomicBool::new(false) }
    }

    pub fn cache(&self) -> Option<&wgpu::PipelineCache> {
        self.cache.as_ref()
    }

    /// Marks that a pipeline was compiled since the file was read.
    pub fn note_new(&self) {
        self.new.store(true, Ordering::Relaxed);
    }

    /// Writes the file if there is something new.
    pub fn save(&self) {
        if !self.new.swap(false, Ordering::Relaxed) {
            return;
        }
        if let (Some(file), Some(data)) = (&self.file, self.cache.as_ref().and_then(wgpu::PipelineCache::get_data)) {
            cache::write(file, &pack(&data, self.origin));
        }
    }
}

/// The wgpu that this crate is built on; a test compares it with the manifest.
const WGPU: &str = "30.0";
/// What the file begins with.
const MAGIC: &[u8; 16] = b"vit-gpu compiled";
/// Magic, origin, length and checksum.
const HEADER: usize = 16 + 16 + 8 + 16;

/// What the data depends on: the adapter with its driver, wgpu, and this crate, whose shaders they are.
fn origin(report: &Adapter) -> u128 {
    cache::fnv1a(format!("{:032x} wgpu {WGPU} vit-gpu {}", cache::key(report), env!("CARGO_PKG_VERSION")).as_bytes())
}

/// What stands before the driver's data in a file. Numbers are little-endian.
fn header(data: &[u8], origin: u128) -> Vec<u8> {
    let (length, sum) = (data.len() as u64, cache::fnv1a(data));
    [&MAGIC[..], &origin.to_le_bytes(), &length.to_le_bytes(), &sum.to_le_bytes()].concat()
}

/// A file's content.
fn pack(data: &[u8], origin: u128) -> Vec<u8> {
    [&header(data, origin), data].concat()
}

/// The data in a file's content, if it has this origin and is whole.
fn unpack(content: &[u8], origin: u128) -> Option<&[u8]> {
    let (found, data) = content.split_at_checked(HEADER)?;
    (found == header(data, origin)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &[u8] = b"what the driver gave";

    #[test]
    fn a_whole_file_gives_its_data() {
        assert_eq!(unpack(&pack(DATA, 7), 7), Some(DATA));
        assert_eq!(unpack(&pack(b"", 7), 7), Some(&b""[..]));
    }

    #[test]
    fn a_file_that_is_cut_longer_or_changed_anywhere_is_refused() {
        let file = pack(DATA, 7);
        for length in 0..file.len() {
            assert_eq!(unpack(&file[..length], 7), None, "{length} bytes");
        }
        assert_eq!(unpack(&[&file[..], b"x"].concat(), 7), None);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut file = file.clone();
                file[at] ^= 1 << bit;
                assert_eq!(unpack(&file, 7), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_file_from_another_adapter_driver_or_wgpu_is_refused() {
        let report = Adapter::featureless("RTX");
        let newer = Adapter { driver: "570.1".into(), ..report.clone() };
        assert_ne!(origin(&report), origin(&newer));
        assert_eq!(unpack(&pack(DATA, origin(&report)), origin(&newer)), None);
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("wgpu = {{ version = \"{WGPU}\"")), "WGPU here is the manifest's");
    }
}
