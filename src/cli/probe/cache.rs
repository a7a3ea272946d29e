//! Features of photos, kept in the user's cache folder, so that another setting needs no run of the model.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};
use vit_gpu::Session;
use vit_gpu::internals::gpu::cache_folder;

use super::super::inputs::Input;
use super::super::outputs::about;

/// What a file begins with.
const MAGIC: &[u8; 16] = b"vit-gpu feats 1\n";

/// What tells one photo from others: a digest of its path, its size and the time of its last change.
pub type Key = [u8; 16];

/// Features by photo, of one model on one device with one way to read photos.
pub struct Cache {
    /// Where they are kept; `None` without a cache folder.
    file: Option<PathBuf>,
    width: usize,
    rows: HashMap<Key, Vec<f32>>,
}

impl Cache {
    /// Reads what is kept for this session and these options: rows of `width` values. A file that is damaged or missing has none.
    pub fn open(session: &Session, options: &BTreeMap<String, String>, width: usize) -> vit_gpu::Result<Cache> {
        let mut digest = Sha256::new();
        digest.update(session.checkpoint().fingerprint()?);
        let [_, device, precision] = about(session);
        digest.update(format!("\0{}\0{device:?}\0{precision:?}\0{options:?}", env!("CARGO_PKG_VERSION")));
        let name: String = digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let file = cache_folder().map(|folder| folder.join("features").join(format!("{name}.bin")));
        let rows = file.as_deref().and_then(|file| read(file, width)).unwrap_or_default();
        Ok(Cache { file, width, rows })
    }

    pub fn get(&self, key: &Key) -> Option<&[f32]> {
        self.rows.get(key).map(Vec::as_slice)
    }

    pub fn put(&mut self, key: Key, row: &[f32]) {
        self.rows.insert(key, row.to_vec());
    }

    /// Writes all rows. A reader sees the old file or the new one. Where it can't be written, the next run computes again.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let part = file.with_extension(format!("part-{}", std::process::id()));
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| self.write(&part));
        if let Err(error) = written.and_then(|()| std::fs::rename(&part, file)) {
            log::debug!("{}: features are not kept: {error}", file.display());
            let _ = std::fs::remove_file(&part);
        }
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        out.write_all(MAGIC)?;
        out.write_all(&(self.width as u64).to_le_bytes())?;
        for (key, row) in &self.rows {
            out.write_all(key)?;
            row.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
        }
        out.flush()
    }
}

fn read(file: &Path, width: usize) -> Option<HashMap<Key, Vec<f32>>> {
    let bytes = std::fs::read(file).ok()?;
    let (magic, rest) = bytes.split_first_chunk::<16>()?;
    let (stored, rest) = rest.split_first_chunk::<8>()?;
    let record = size_of::<Key>() + 4 * width;
    if magic != MAGIC || u64::from_le_bytes(*stored) != width as u64 || !rest.len().is_multiple_of(record) {
        return None;
    }
    let records = rest.chunks_exact(record).filter_map(|record| {
        let (key, values) = record.split_first_chunk::<16>()?;
        let row: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        row.iter().all(|value| value.is_finite()).then_some((*key, row))
    });
    Some(records.collect())
}

/// The key of a photo; `None` for what is no file that can be read.
pub fn key(input: &Input) -> Option<Key> {
    let path = std::path::absolute(input.path()).ok()?;
    let metadata = path.metadata().ok()?;
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let mut digest = Sha256::new();
    digest.update(path.as_os_str().as_encoded_bytes());
    digest.update(format!("\0{} {}", metadata.len(), changed.as_nanos()));
    digest.finalize()[..16].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_and_damage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("features/a.bin");
        let mut cache = Cache { file: Some(file.clone()), width: 3, rows: HashMap::new() };
        cache.put([1; 16], &[1.0, 2.0, 3.0]);
        cache.put([2; 16], &[f32::NAN, 2.0, 3.0]);
        cache.save();
        let rows = read(&file, 3).unwrap();
        assert_eq!((rows.len(), rows[&[1; 16]].as_slice()), (1, &[1.0, 2.0, 3.0][..]));
        assert!(read(&file, 4).is_none());
        let bytes = std::fs::read(&file).unwrap();
        for cut in [0, 10, 20, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..cut]).unwrap();
            assert!(read(&file, 3).is_none_or(|rows| rows.is_empty()), "{cut}");
        }
    }

    #[test]
    fn a_changed_photo_has_another_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let input = Input::File(file.path().into());
        let before = key(&input).unwrap();
        assert_eq!(key(&input), Some(before));
        std::fs::write(file.path(), "more").unwrap();
        assert_ne!(key(&input), Some(before));
        assert_eq!(key(&Input::Stdin), None);
    }
}
