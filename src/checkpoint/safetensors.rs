//! Reads safetensors files a tensor at a time; nothing is mapped (a truncated mapping is a crash), nothing is read twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::npz::Source;
use super::{foreign, header, json};
use crate::error::{Error, Result};

/// Values converted at a time.
const CHUNK: usize = 1 << 18;

pub(super) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// One file: its header, and a handle to read values through.
struct Shard {
    path: PathBuf,
    data_start: u64,
    reader: Mutex<Box<dyn ReadSeek>>,
}

/// The tensors of one file or of all shards of an index, by name.
pub struct Tensors {
    /// What messages call it.
    pub name: String,
    shards: Vec<Shard>,
    infos: BTreeMap<String, (usize, TensorInfo)>,
}

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
    pub fn open_archive(path: &Path) -> Result<Tensors> {
        super::npz::open(&path.display().to_string(), &Source::File(path.to_path_buf()))
    }

    /// Reads a file that is in memory: safetensors, or an `.npz` archive, told by its content. `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Tensors::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Tensors> {
        if foreign::format(&bytes) == Some(foreign::NPZ) {
            return super::npz::open(name, &Source::Bytes(bytes.into()));
        }
        let mut tensors = Tensors::empty(name.to_owned());
        tensors.add(Path::new(name), Box::new(Cursor::new(bytes)))?;
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
            // A name in the index must stay in its folder.
            if shard.is_empty() || shard.contains(['/', '\\']) || shard == ".." {
                return Err(Error::config(
                    file,
                    format!("`{tensor}` is said to be in `{shard}`, which is no file name"),
                ));
            }
            names.entry(shard).or_default().push(tensor);
        }
        let mut tensors = Tensors::empty(file);
        for (shard, expected) in names {
            let path = index.with_file_name(shard);
            tensors.add(&path, Box::new(File::open(&path).map_err(Error::io(&path))?))?;
            let here = tensors.shards.len() - 1;
            if let Some(lost) = expected.iter().find(|name| tensors.infos.get(**name).is_none_or(|(at, _)| *at != here))
            {
                let reason = format!("tensor `{lost}` is in the index but not in `{shard}`");
                return Err(Error::config(tensors.name, reason));
            }
        }
        Ok(tensors)
    }

    /// No tensors yet.
    pub(super) fn empty(name: String) -> Tensors {
        Tensors { name, shards: Vec::new(), infos: BTreeMap::new() }
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

    /// Adds tensors whose offsets count from `data_start` in `reader`.
    pub(super) fn push(
        &mut self,
        path: &Path,
        reader: Box<dyn ReadSeek>,
        data_start: u64,
        infos: impl IntoIterator<Item = (String, TensorInfo)>,
    ) -> Result<()> {
        for (name, info) in infos {
            if self.infos.contains_key(&name) {
                return Err(Error::model(&self.name, format!("tensor `{name}` is there twice")));
            }
            self.infos.insert(name, (self.shards.len(), info));
        }
        self.shards.push(Shard { path: path.to_path_buf(), data_start, reader: Mutex::new(reader) });
        Ok(())
    }

    /// Names and shapes.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.infos.iter().map(|(name, (_, info))| (name.as_str(), info.shape.as_slice()))
    }

    /// The storage types that occur, as `F16`, `F32`…
    pub fn dtypes(&self) -> Vec<String> {
        let mut all: Vec<String> = self.infos.values().map(|(_, info)| format!("{:?}", info.dtype)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Refuses the first of these tensors whose type is not read.
    pub fn readable<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut names = names.filter_map(|name| Some((name, self.infos.get(name)?.1.dtype)));
        match names.find(|(_, dtype)| size(*dtype).is_none()) {
            Some((name, dtype)) => Err(self.unread(name, dtype)),
            None => Ok(()),
        }
    }

    fn unread(&self, name: &str, dtype: Dtype) -> Error {
        let how = match dtype {
            Dtype::F8_E5M2 | Dtype::F8_E4M3 | Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ => {
                "; Python converts a file whose weights have no scales beside them: from safetensors.torch import \
                 load_file, save_file; save_file({k: v.half() for k, v in load_file(\"old.safetensors\").items()}, \
                 \"new.safetensors\")"
            }
            Dtype::BOOL | Dtype::C64 | Dtype::U64 => "",
            _ => "; a quantized model must be saved again with its weights dequantized",
        };
        let types = "F64, F32, F16, BF16, I64 and I32";
        Error::model(&self.name, format!("tensor `{name}` is {dtype:?}, {types} are read{how}"))
    }

    /// A tensor's values as f32, whatever its type, integers included.
    pub fn values(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let Some((_, info)) = self.infos.get(name) else {
            let expected = Vec::new();
            return Err(Error::MissingTensor {
                tensor: name.into(),
                expected,
                family: "input",
                file: self.name.clone(),
            });
        };
        self.readable([name].into_iter())?;
        let mut values = vec![0.0; info.shape.iter().product()];
        self.read(name, 0, &mut values)?;
        Ok((info.shape.clone(), values))
    }

    /// Fills `out` with a tensor's values from element `first` on, converted to f32.
    pub fn read(&self, name: &str, first: usize, out: &mut [f32]) -> Result<()> {
        let Some((shard, info)) = self.infos.get(name) else {
            return Err(Error::model(&self.name, format!("tensor `{name}` is missing")));
        };
        let shard = &self.shards[*shard];
        let len: usize = info.shape.iter().product();
        if first.checked_add(out.len()).is_none_or(|end| end > len) {
            return Err(Error::model(&self.name, format!("tensor `{name}` has {len} values, more were asked for")));
        }
        let Some(size) = size(info.dtype) else { return Err(self.unread(name, info.dtype)) };
        let start = shard.data_start + (info.data_offsets.0 + first * size) as u64;
        let mut reader = shard.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let io = Error::io(&shard.path);
        (|| {
            reader.seek(SeekFrom::Start(start))?;
            if info.dtype == Dtype::F32 {
                reader.read_exact(bytemuck::cast_slice_mut(out))?;
                if cfg!(target_endian = "big") {
                    out.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits().swap_bytes()));
                }
                return Ok(());
            }
            if size > 2 {
                let mut bytes = vec![0u8; size * CHUNK.min(out.len())];
                for out in out.chunks_mut(CHUNK) {
                    let bytes = &mut bytes[..size * out.len()];
                    reader.read_exact(bytes)?;
                    for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(size)) {
                        *value = wide(info.dtype, bytes);
                    }
                }
                return Ok(());
            }
            let mut bits = vec![0u16; CHUNK.min(out.len())];
            for out in out.chunks_mut(CHUNK) {
                let bits = &mut bits[..out.len()];
                reader.read_exact(bytemuck::cast_slice_mut(bits))?;
                bits.iter_mut().for_each(|v| *v = u16::from_le(*v));
                if info.dtype == Dtype::F16 {
                    bytemuck::cast_slice::<u16, half::f16>(bits).convert_to_f32_slice(out);
                } else {
                    bytemuck::cast_slice::<u16, half::bf16>(bits).convert_to_f32_slice(out);
                }
            }
            Ok(())
        })()
        .map_err(io)
    }
}

/// Bytes of a value of a type that is read.
fn size(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F64 | Dtype::I64 => Some(8),
        Dtype::F32 | Dtype::I32 => Some(4),
        Dtype::F16 | Dtype::BF16 => Some(2),
        _ => None,
    }
}

/// The nearest f32 of a value of one of the types that are seldom met.
fn wide(dtype: Dtype, bytes: &[u8]) -> f32 {
    let eight = bytes.first_chunk::<8>().copied().unwrap_or_default();
    let four = bytes.first_chunk::<4>().copied().unwrap_or_default();
    match dtype {
        Dtype::F64 => f64::from_le_bytes(eight) as f32,
        Dtype::I64 => i64::from_le_bytes(eight) as f32,
        _ => i32::from_le_bytes(four) as f32,
    }
}

/// What a file is that is no safetensors file.
fn told(reader: &mut Box<dyn ReadSeek>) -> Option<&'static str> {
    let mut start = Vec::new();
    reader.seek(SeekFrom::Start(0)).ok()?;
    reader.take(foreign::LOOKED_AT as u64).read_to_end(&mut start).ok()?;
    // What begins as a header does is a safetensors file, if a broken one.
    let length = start.first_chunk().map(|length| u64::from_le_bytes(*length));
    let header = start.get(8) == Some(&b'{') && length.is_some_and(|length| length <= header::LONGEST);
    if header { None } else { foreign::format(&start) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
