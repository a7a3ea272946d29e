//! Tensors by name, in one or several files of any format, read one at a time; nothing is mapped (a truncated mapping is a
//! crash), nothing is read twice.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::error::{Error, Result};

/// Number of values that are converted at a time.
const CHUNK: usize = 1 << 18;

pub(super) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// How a tensor's values differ from those in its file.
pub(super) trait Change: Send + Sync {
    /// Changes rows along the first axis, whole ones, which begin with row `first`.
    fn change(&self, first: usize, rows: &mut [f32]) -> Result<()>;
}

/// One file: its header, and a handle to read values through.
struct TensorFile {
    path: PathBuf,
    data_start: u64,
    reader: Mutex<Box<dyn ReadSeek>>,
}

/// The tensors of one file or of all shards of an index, by name.
pub struct Tensors {
    /// What messages call it.
    pub name: String,
    files: Vec<Arc<TensorFile>>,
    infos: BTreeMap<String, (usize, TensorInfo)>,
    changes: BTreeMap<String, Box<dyn Change>>,
}

impl Tensors {
    /// No tensors yet.
    pub(super) fn empty(name: String) -> Tensors {
        Tensors { name, files: Vec::new(), infos: BTreeMap::new(), changes: BTreeMap::new() }
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
                return Err(Error::model(&self.name, format!("tensor `{name}` occurs twice")));
            }
            self.infos.insert(name, (self.files.len(), info));
        }
        self.files.push(Arc::new(TensorFile { path: path.to_path_buf(), data_start, reader: Mutex::new(reader) }));
        Ok(())
    }

    /// Takes the tensor `theirs` of another file as `name`, in place of the one that had this name.
    pub(super) fn replace(&mut self, name: &str, other: &Tensors, theirs: &str) {
        if let Some((file, info)) = other.infos.get(theirs) {
            self.infos.insert(name.to_owned(), (self.files.len(), info.clone()));
            self.files.push(Arc::clone(&other.files[*file]));
        }
    }

    /// From now on, a tensor's values are those in its file with this change.
    pub(super) fn change(&mut self, name: &str, change: Box<dyn Change>) {
        self.changes.insert(name.to_owned(), change);
    }

    /// Forgets the tensors for whose names this is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.infos.retain(|name, _| keep(name));
    }

    /// Whether a tensor is in the file that was added last.
    pub(super) fn is_in_last_file(&self, name: &str) -> bool {
        self.infos.get(name).is_some_and(|(file, _)| file + 1 == self.files.len())
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

    /// An error for the first of these tensors whose number type is not supported.
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
        let Some((file, info)) = self.infos.get(name) else {
            return Err(Error::model(&self.name, format!("tensor `{name}` is missing")));
        };
        let len: usize = info.shape.iter().product();
        let Some(end) = first.checked_add(out.len()).filter(|end| *end <= len) else {
            return Err(Error::model(&self.name, format!("tensor `{name}` has {len} values, more were asked for")));
        };
        let file = &self.files[*file];
        let Some(change) = self.changes.get(name).filter(|_| !out.is_empty()) else {
            return self.stored(name, file, info, first, out);
        };
        let width = info.shape.iter().skip(1).product::<usize>();
        let (row, rows) = (first / width, end.div_ceil(width) - first / width);
        if row * width == first && rows * width == out.len() {
            self.stored(name, file, info, first, out)?;
            return change.change(row, out);
        }
        let mut whole = vec![0.0; rows * width];
        self.stored(name, file, info, row * width, &mut whole)?;
        change.change(row, &mut whole)?;
        out.copy_from_slice(&whole[first - row * width..][..out.len()]);
        Ok(())
    }

    /// The values in the file, of a range that the tensor has.
    fn stored(&self, name: &str, file: &TensorFile, info: &TensorInfo, first: usize, out: &mut [f32]) -> Result<()> {
        let Some(size) = size(info.dtype) else { return Err(self.unread(name, info.dtype)) };
        let start = file.data_start + (info.data_offsets.0 + first * size) as u64;
        let mut reader = file.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let io = Error::io(&file.path);
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

/// Bytes of a value of this type; `None` if the type is not supported.
fn size(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F64 | Dtype::I64 => Some(8),
        Dtype::F32 | Dtype::I32 => Some(4),
        Dtype::F16 | Dtype::BF16 => Some(2),
        _ => None,
    }
}

/// The nearest f32 of a value of one of the rarer types.
fn wide(dtype: Dtype, bytes: &[u8]) -> f32 {
    let eight = bytes.first_chunk::<8>().copied().unwrap_or_default();
    let four = bytes.first_chunk::<4>().copied().unwrap_or_default();
    match dtype {
        Dtype::F64 => f64::from_le_bytes(eight) as f32,
        Dtype::I64 => i64::from_le_bytes(eight) as f32,
        _ => i32::from_le_bytes(four) as f32,
    }
}
