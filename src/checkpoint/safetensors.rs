//! Opens weights: safetensors files, sets of them, and NumPy archives, told by their content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, SeekFrom};
use std::path::{Path, PathBuf};

use super::tensors::{ReadSeek, Tensors};
use super::{foreign, header, json};
use crate::error::{Error, Result};

impl Tensors {
    /// Opens one `.safetensors` file, or an `.npz` archive under whatever name.
    pub fn open(path: &Path) -> Result<Tensors> {
        let mut reader = File::open(path).map_err(Error::io(path))?;
        let mut start = Vec::new();
        (&mut reader).take(foreign::LOOKED_AT as u64).read_to_end(&mut start).map_err(Error::io(path))?;
        if foreign::format(&start) == Some(foreign::NPZ) {
            return Tensors::open_archive(path);
        }
        let mut tensors = Tensors::empty(path.display().to_string());
        tensors.add(path, Box::new(reader))?;
        Ok(tensors)
    }

    /// Opens an `.npz` archive.
    #[cfg(feature = "npz")]
    pub fn open_archive(path: &Path) -> Result<Tensors> {
        super::npz::open(&path.display().to_string(), &super::npz::Source::File(path.to_path_buf()))
    }

    /// Refuses an `.npz` archive.
    #[cfg(not(feature = "npz"))]
    pub fn open_archive(path: &Path) -> Result<Tensors> {
        Err(Error::Feature { what: path.display().to_string(), feature: "npz" })
    }

    /// Reads a file that is in memory: safetensors, or an `.npz` archive, told by its content. `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Tensors> {
        if foreign::format(&bytes) == Some(foreign::NPZ) {
            return archive_in_memory(name, bytes);
        }
        let mut tensors = Tensors::empty(name.to_owned());
        tensors.add(Path::new(name), Box::new(Cursor::new(bytes)))?;
        Ok(tensors)
    }

    /// Reads a file through a reader, when its values are needed; an `.npz` archive is read whole at once.
    pub(super) fn from_seekable(name: &str, mut reader: Box<dyn ReadSeek>) -> Result<Tensors> {
        let io = || Error::io(name);
        let mut start = Vec::new();
        reader.rewind().map_err(io())?;
        (&mut reader).take(foreign::LOOKED_AT as u64).read_to_end(&mut start).map_err(io())?;
        if foreign::format(&start) == Some(foreign::NPZ) {
            reader.read_to_end(&mut start).map_err(io())?;
            return archive_in_memory(name, start);
        }
        let mut tensors = Tensors::empty(name.to_owned());
        tensors.add(Path::new(name), reader)?;
        Ok(tensors)
    }

    /// Opens files that together are one model; no tensor may be in two of them.
    pub fn open_all(name: String, paths: &[PathBuf]) -> Result<Tensors> {
        let mut tensors = Tensors::empty(name);
        for path in paths {
            tensors.add(path, Box::new(File::open(path).map_err(Error::io(path))?))?;
        }
        Ok(tensors)
    }

    /// Reads a file that is part of the program.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Tensors> {
        let mut tensors = Tensors::empty(name.to_owned());
        tensors.add(Path::new(name), Box::new(Cursor::new(bytes)))?;
        Ok(tensors)
    }

    /// Opens every shard of a `model.safetensors.index.json`.
    pub fn open_index(index: &Path) -> Result<Tensors> {
        let file = index.display().to_string();
        let json = json::read(index)?;
        let Some(map) = json["weight_map"].as_object() else {
            return Err(Error::config(file, "`weight_map` is missing"));
        };
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in map {
            let shard = shard.as_str().unwrap_or("");
            // A shard's name in the index must not lead out of the folder.
            if shard.is_empty() || shard.contains(['/', '\\']) || shard == ".." {
                return Err(Error::config(
                    file,
                    format!("the index puts `{tensor}` into `{shard}`, which is not a file name"),
                ));
            }
            names.entry(shard).or_default().push(tensor);
        }
        let mut tensors = Tensors::empty(file);
        for (shard, expected) in names {
            let path = index.with_file_name(shard);
            tensors.add(&path, Box::new(File::open(&path).map_err(Error::io(&path))?))?;
            if let Some(lost) = expected.iter().find(|name| !tensors.is_in_last_file(name)) {
                let reason = format!("tensor `{lost}` is in the index but not in `{shard}`");
                return Err(Error::config(tensors.name, reason));
            }
        }
        Ok(tensors)
    }

    fn add(&mut self, path: &Path, mut reader: Box<dyn ReadSeek>) -> Result<()> {
        let fail = |reason: String| Error::Safetensors { file: path.to_path_buf(), reason };
        let (infos, data_start) = header::read(&mut *reader).map_err(|reason| match told(&mut reader) {
            Some(format) => {
                Error::model(path.display().to_string(), format!("this is {format}, {}", foreign::advice(format)))
            }
            None => fail(reason),
        })?;
        self.push(path, reader, data_start, infos)
    }
}

#[cfg(feature = "npz")]
fn archive_in_memory(name: &str, bytes: Vec<u8>) -> Result<Tensors> {
    super::npz::open(name, &super::npz::Source::Bytes(bytes.into()))
}

#[cfg(not(feature = "npz"))]
fn archive_in_memory(name: &str, _: Vec<u8>) -> Result<Tensors> {
    Err(Error::Feature { what: name.to_owned(), feature: "npz" })
}

/// The kind of a file that is not safetensors, if it is recognised.
fn told(reader: &mut Box<dyn ReadSeek>) -> Option<&'static str> {
    let mut start = Vec::new();
    reader.seek(SeekFrom::Start(0)).ok()?;
    reader.take(foreign::LOOKED_AT as u64).read_to_end(&mut start).ok()?;
    // A file that begins like a safetensors header is treated as safetensors, even if it is damaged.
    let length = start.first_chunk().map(|length| u64::from_le_bytes(*length));
    let header = start.get(8) == Some(&b'{') && length.is_some_and(|length| length <= header::LONGEST);
    if header { None } else { foreign::format(&start) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::Dtype;

    proptest! {
        #[test]
        fn what_was_written_is_read(values in prop::collection::vec(-1e5f32..1e5, 1..50), first in 0usize..50) {
            let first = first % values.len();
            for half in [false, true] {
                let bytes: Vec<u8> = if half {
                    values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()
                } else {
                    values.iter().flat_map(|v| v.to_le_bytes()).collect()
                };
                let dtype = if half { Dtype::BF16 } else { Dtype::F32 };
                let view = safetensors::tensor::TensorView::new(dtype, vec![values.len()], &bytes).unwrap();
                let file = safetensors::serialize([("t", view)], None).unwrap();
                let mut tensors = Tensors::empty("test".into());
                tensors.add(Path::new("test"), Box::new(Cursor::new(file))).unwrap();
                let mut out = vec![f32::NAN; values.len() - first];
                tensors.read("t", first, &mut out).unwrap();
                for (got, want) in out.iter().zip(&values[first..]) {
                    let want = if half { half::bf16::from_f32(*want).to_f32() } else { *want };
                    prop_assert_eq!(*got, want);
                }
                prop_assert!(tensors.read("t", first + 1, &mut out).is_err());
            }
        }
    }
}
