//! What the driver compiled, kept on disk for the next start (Vulkan; other systems keep their own).

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::adapter::AdapterReport;
use super::cache;

/// A driver's pipeline cache and the file it is kept in: a checksum, then the driver's data.
pub struct CompiledFile {
    cache: Option<wgpu::PipelineCache>,
    file: Option<PathBuf>,
    new: AtomicBool,
}

impl CompiledFile {
    pub fn open(device: &wgpu::Device, report: &AdapterReport) -> CompiledFile {
        let file = cache::file(report, "pipelines.bin");
        let able = device.features().contains(wgpu::Features::PIPELINE_CACHE) && file.is_some();
        let data = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let data = data.as_deref().and_then(checked);
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("vit-gpu"), data, fallback: true };
        // SAFETY: the data must be what `get_data` once gave. The file's name holds the adapter, its driver and this
        // crate's version, a checksum refuses what is cut or changed by accident, wgpu compares its own header with the
        // adapter, and the driver checks its part. The folder is the user's own, as the driver's caches are.
        #[expect(unsafe_code, reason = "a driver's compiled code is taken from a file")]
        let cache = able.then(|| unsafe { device.create_pipeline_cache(&descriptor) });
        CompiledFile { cache, file, new: AtomicBool::new(false) }
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
            cache::write(file, &[&checksum(&data).to_le_bytes(), data.as_slice()].concat());
        }
    }
}

fn checksum(data: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    hash.write(data);
    hash.finish()
}

/// The data of a file whose checksum is right.
fn checked(file: &[u8]) -> Option<&[u8]> {
    let (sum, data) = file.split_at_checked(8)?;
    (sum == checksum(data).to_le_bytes()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_cut_file_is_refused() {
        let data = b"what the driver gave";
        let mut file = [&checksum(data).to_le_bytes(), &data[..]].concat();
        assert_eq!(checked(&file), Some(&data[..]));
        assert_eq!(checked(&file[..20]), None);
        assert_eq!(checked(&file[..3]), None);
        file[12] ^= 1;
        assert_eq!(checked(&file), None);
    }
}
