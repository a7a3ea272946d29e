//! NumPy archives as Google's ViT code writes them: a zip of `.npy` arrays, stored or deflated.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use safetensors::tensor::TensorInfo;
use zip::ZipArchive;

use super::npy::{Header, MAX_HEADER};
use super::tensors::{ReadSeek, Tensors};
use crate::error::{Error, Result};

/// Where an archive is read from.
pub enum Source {
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

impl Source {
    fn open(&self) -> std::io::Result<Box<dyn ReadSeek>> {
        Ok(match self {
            Source::File(path) => Box::new(File::open(path)?),
            Source::Bytes(bytes) => Box::new(std::io::Cursor::new(Arc::clone(bytes))),
        })
    }
}

/// The most bytes that one compressed byte can expand to: deflate needs at least two bits for 258 bytes.
const DEFLATE: u64 = 1032;

type Archive = Arc<Mutex<ZipArchive<Box<dyn ReadSeek>>>>;

/// Opens an archive. No array is read yet. Stored arrays are read from the archive when they are needed; compressed arrays and those in
/// Fortran order are unpacked when they are needed, one at a time.
pub fn open(name: &str, source: &Source) -> Result<Tensors> {
    let path = Path::new(name);
    let fail = |reason: String| Error::model(name, reason);
    let open = || source.open().map_err(Error::io(path));
    let mut reader = open()?;
    let file_len = reader.seek(SeekFrom::End(0)).map_err(Error::io(path))?;
    let archive = ZipArchive::new(reader).map_err(|error| fail(format!("not a readable .npz: {error}")))?;
    let archive: Archive = Arc::new(Mutex::new(archive));
    let mut locked = archive.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stored = Vec::new();
    let mut tensors = Tensors::empty(name.to_owned());
    for index in 0..locked.len() {
        let mut entry = locked.by_index(index).map_err(|error| fail(error.to_string()))?;
        let file_name = entry.name().map_err(|error| fail(error.to_string()))?.into_owned();
        let Some(array) = file_name.strip_suffix(".npy") else { continue };
        let named = |error: String| fail(format!("array `{array}`: {error}"));
        let size = entry.size();
        let mut start = Vec::new();
        let read = (&mut entry).take(size.min(MAX_HEADER)).read_to_end(&mut start);
        read.map_err(|error| named(error.to_string()))?;
        let header = Header::read(&start).map_err(named)?;
        if header.len as u64 + header.values as u64 != size {
            let found = size.saturating_sub(header.len as u64);
            return Err(named(format!("{} bytes expected, {found} found", header.values)));
        }
        // A size that can't be true for a file of this length is an error, because memory is allocated by these sizes.
        let packed = entry.compressed_size();
        let whole = entry.data_start().and_then(|start| start.checked_add(packed)).is_some_and(|end| end <= file_len);
        let most = match entry.compression() {
            zip::CompressionMethod::Stored => packed,
            _ => packed.saturating_mul(DEFLATE),
        };
        if !whole || size > most {
            return Err(named(format!(
                "the archive says that it has {size} bytes, which is more than the file can hold"
            )));
        }
        let info = |first: usize| TensorInfo {
            dtype: header.dtype,
            shape: header.shape.clone(),
            data_offsets: (first, first + header.values),
        };
        if entry.compression() == zip::CompressionMethod::Stored && !header.fortran {
            let start = entry.data_start().ok_or_else(|| named("has no data".into()))?;
            let first = usize::try_from(start).ok().and_then(|start| start.checked_add(header.len));
            let first = first.filter(|first| first.checked_add(header.values).is_some());
            stored.push((array.to_owned(), info(first.ok_or_else(|| named("is too large".into()))?)));
        } else {
            let info = info(0);
            let member = Member { archive: Arc::clone(&archive), index, header, position: 0, values: None };
            tensors.push(path, Box::new(member), 0, [(array.to_owned(), info)])?;
        }
    }
    drop(locked);
    tensors.push(path, open()?, 0, stored)?;
    Ok(tensors)
}

/// An array that has to be unpacked. Its values are kept from the first read until its last byte has been read.
struct Member {
    archive: Archive,
    index: usize,
    header: Header,
    position: usize,
    values: Option<Vec<u8>>,
}

impl Member {
    fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = archive.by_index(self.index)?;
        let mut bytes = Vec::new();
        // Reading one byte more than stated shows whether the stated size is wrong. Reaching the end also checks the checksum.
        entry.take((self.header.len + self.header.values) as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() != self.header.len + self.header.values {
            return Err(std::io::Error::other("an array is not as long as the archive says"));
        }
        bytes.drain(..self.header.len);
        Ok(match self.header.fortran {
            true => c_order(&bytes, &self.header.shape, self.header.dtype.bitsize() / 8),
            false => bytes,
        })
    }
}

impl Read for Member {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.position >= self.header.values {
            return Ok(0);
        }
        let values = match self.values.take() {
            Some(values) => values,
            None => self.unpacked()?,
        };
        let count = out.len().min(values.len() - self.position);
        out[..count].copy_from_slice(&values[self.position..self.position + count]);
        self.position += count;
        self.values = (self.position < self.header.values).then_some(values);
        Ok(count)
    }
}

impl Seek for Member {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => i64::try_from(at).ok(),
            SeekFrom::End(by) => (self.header.values as i64).checked_add(by),
            SeekFrom::Current(by) => (self.position as i64).checked_add(by),
        };
        let at = at.and_then(|at| usize::try_from(at).ok());
        self.position = at.ok_or_else(|| std::io::Error::other("a place before the array"))?;
        Ok(self.position as u64)
    }
}

/// Reorders an array from Fortran order (first axis fastest) to C order (last axis fastest).
fn c_order(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for at in 0..bytes.len() / size {
        let (mut rest, mut source, mut step) = (at, 0, shape.iter().product::<usize>());
        for &n in shape.iter().rev() {
            step /= n;
            source += rest % n * step;
            rest /= n;
        }
        out.extend_from_slice(&bytes[source * size..][..size]);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    #[test]
    fn fortran_order_is_turned_around() {
        // [2, 3] with value 10·i + j, first axis fastest.
        assert_eq!(c_order(&[0, 10, 1, 11, 2, 12], &[2, 3], 1), [0, 1, 2, 10, 11, 12]);
        let three: Vec<u8> =
            (0..4).flat_map(|k| (0..3).flat_map(move |j| (0..2).map(move |i| 12 * i + 4 * j + k))).collect();
        assert_eq!(c_order(&three, &[2, 3, 4], 1), (0..24).collect::<Vec<u8>>());
    }

    /// An archive of one array of zeros with this header text.
    fn archive(text: &str, values: usize, method: zip::CompressionMethod) -> Source {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a.npy", zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(b"\x93NUMPY\x01\0").unwrap();
        zip.write_all(&(text.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
        (0..values / 4096).for_each(|_| zip.write_all(&[0; 4096]).unwrap());
        zip.write_all(&vec![0; values % 4096]).unwrap();
        Source::Bytes(zip.finish().unwrap().into_inner().into())
    }

    #[test]
    fn arrays_are_unpacked_when_they_are_read_and_as_often() {
        for order in ["False", "True"] {
            for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
                let text = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (3, 5)}}");
                let tensors = open("a.npz", &archive(&text, 60, method)).unwrap();
                for _ in 0..2 {
                    assert_eq!(tensors.values("a").unwrap(), (vec![3, 5], vec![0.0; 15]));
                    let mut one = [1.0];
                    tensors.read("a", 7, &mut one).unwrap();
                    assert_eq!(one, [0.0]);
                }
            }
        }
    }

    /// Zeros shrink a thousandfold; opening the archive unpacks no more than the header.
    #[test]
    fn what_is_not_asked_for_is_not_unpacked() {
        let text = "{'descr': '<f4', 'fortran_order': True, 'shape': (4194304, 4)}";
        let source = archive(text, 64 << 20, zip::CompressionMethod::Deflated);
        let Source::Bytes(bytes) = &source else { panic!("it is a file") };
        assert!(bytes.len() < 1 << 18);
        let tensors = open("a.npz", &source).unwrap();
        assert_eq!(tensors.shapes().next().unwrap(), ("a", &[4_194_304, 4][..]));
    }

    #[test]
    fn sizes_that_contradict_each_other_are_errors() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)}";
        for values in [0, 59, 61] {
            let error =
                open("a.npz", &archive(text, values, zip::CompressionMethod::Deflated)).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("a.npz: array `a`: 60 bytes expected, {values} found"));
        }
        let error = open("a.npz", &Source::Bytes((*b"PK\x05\x06").into())).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("a.npz: not a readable .npz"), "{error}");
    }
}
