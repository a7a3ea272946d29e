//! NumPy archives as Google's ViT code writes them: a zip of `.npy` arrays, stored or deflated.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::safetensors::Tensors;
use crate::error::{Error, Result};

/// The longest header of an array that is read.
const MAX_HEADER: u64 = 1 << 16;

/// Opens an archive. Stored arrays are read from it when they are asked for; those that are deflated, or in Fortran order,
/// are unpacked here.
pub fn open(path: &Path) -> Result<Tensors> {
    let fail = |reason: String| Error::model(path.display().to_string(), reason);
    let open = || File::open(path).map_err(Error::io(path));
    let mut archive = zip::ZipArchive::new(open()?).map_err(|error| fail(format!("not a readable .npz: {error}")))?;
    let mut stored = Vec::new();
    let mut tensors = Tensors::empty(path.display().to_string());
    let mut file = open()?;
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|error| fail(error.to_string()))?;
        let file_name = entry.name().map_err(|error| fail(error.to_string()))?.into_owned();
        let Some(name) = file_name.strip_suffix(".npy") else { continue };
        let named = |error: String| fail(format!("array `{name}`: {error}"));
        let unreadable = |error: std::io::Error| named(error.to_string());
        let size = entry.size();
        if entry.compression() == zip::CompressionMethod::Stored {
            let start = entry.data_start().ok_or_else(|| named("has no data".into()))?;
            file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
            let mut header = Vec::new();
            (&mut file).take(size.min(MAX_HEADER)).read_to_end(&mut header).map_err(unreadable)?;
            let (info, fortran) = array(&header, start, size).map_err(named)?;
            if !fortran {
                stored.push((name.to_owned(), info));
                continue;
            }
        }
        let mut bytes = Vec::new();
        // One byte more than is said to be there tells a lie about the size.
        (&mut entry).take(size + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let (mut info, fortran) = array(&bytes, 0, bytes.len() as u64).map_err(named)?;
        if fortran {
            bytes = c_order(&bytes[info.data_offsets.0..], &info.shape, info.dtype.bitsize() / 8);
            info.data_offsets = (0, bytes.len());
        }
        tensors.push(path, Box::new(Cursor::new(bytes)), 0, [(name.to_owned(), info)])?;
    }
    tensors.push(path, Box::new(file), 0, stored)?;
    Ok(tensors)
}

/// The elements of an array that lies first axis fastest, last axis fastest.
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

/// Type, shape and place of an array, and whether it is in Fortran order, whose file of `size` bytes, of which `bytes` are the first, begins at `start`.
fn array(bytes: &[u8], start: u64, size: u64) -> std::result::Result<(TensorInfo, bool), String> {
    let mut reader = Cursor::new(bytes);
    let header = npyz::NpyHeader::from_reader(&mut reader).map_err(|error| error.to_string())?;
    let fortran = header.order() == npyz::Order::Fortran && header.shape().len() > 1;
    let kind = match header.dtype() {
        npyz::DType::Plain(kind) => kind.to_string(),
        other => return Err(format!("is of type {}", other.descr())),
    };
    let dtype = match kind.as_str() {
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        // NumPy has no bfloat16: JAX's arrive as two opaque bytes.
        "<V2" | "|V2" => Dtype::BF16,
        "<f8" => Dtype::F64,
        "<i8" => Dtype::I64,
        "<i4" => Dtype::I32,
        "<u4" => Dtype::U32,
        "|u1" => Dtype::U8,
        "|b1" => Dtype::BOOL,
        other => return Err(format!("is of type {other}")),
    };
    let shape = header.shape().iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<usize>>>();
    let shape = shape.ok_or("is too large")?;
    let len = shape.iter().try_fold(1usize, |len, n| len.checked_mul(*n)).ok_or("is too large")?;
    let bytes = len.checked_mul(dtype.bitsize() / 8).ok_or("is too large")?;
    let header_len = reader.position();
    if header_len + bytes as u64 != size {
        return Err(format!("{bytes} bytes expected, {} found", size.saturating_sub(header_len)));
    }
    let first = usize::try_from(start + header_len).map_err(|_| "is too large")?;
    Ok((TensorInfo { dtype, shape, data_offsets: (first, first + bytes) }, fortran))
}

#[cfg(test)]
mod tests {
    #[test]
    fn fortran_order_is_turned_around() {
        // [2, 3] with value 10·i + j, first axis fastest.
        assert_eq!(super::c_order(&[0, 10, 1, 11, 2, 12], &[2, 3], 1), [0, 1, 2, 10, 11, 12]);
        let three: Vec<u8> =
            (0..4).flat_map(|k| (0..3).flat_map(move |j| (0..2).map(move |i| 12 * i + 4 * j + k))).collect();
        assert_eq!(super::c_order(&three, &[2, 3, 4], 1), (0..24).collect::<Vec<u8>>());
    }
}
