//! Files of vectors: NumPy's .npy and .npz, and safetensors.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use npyz::WriterBuilder;
use serde_json::json;
use vit_gpu::Error;

use super::super::Failure;

/// What a .npy file of f32 values of this shape begins with; the values follow, row by row.
pub fn npy_head(shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(|side| format!("{side},")).collect();
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sides.join(" "));
    // The values begin at a multiple of 64 bytes, and a newline is the last byte before them.
    let len = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((len as u16).to_le_bytes());
    head.extend(format!("{text:<width$}\n", width = len - 1).bytes());
    head
}

/// What a .safetensors file begins with that has one tensor, `embeddings`, and a list of images or texts (`kind`) as metadata; the
/// values follow.
pub fn safetensors_head(shape: &[usize], kind: &str, names: &[String]) -> Vec<u8> {
    let bytes = 4 * shape.iter().product::<usize>();
    let header = json!({
        "__metadata__": {format!("{kind}s"): json!(names).to_string()},
        "embeddings": {"dtype": "F32", "shape": shape, "data_offsets": [0, bytes]},
    });
    let mut text = header.to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Makes a .npz file of a .npy file of embeddings and the names of the images or texts (`kind`).
pub fn npz(npy: File, out: File, kind: &str, names: &[&[u8]]) -> io::Result<()> {
    let mut zip = zip::ZipWriter::new(BufWriter::new(out));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    zip.start_file("embeddings.npy", stored)?;
    io::copy(&mut BufReader::new(npy), &mut zip)?;
    zip.start_file(format!("{kind}s.npy"), stored)?;
    zip.write_all(&names_npy(names)?)?;
    zip.finish().map_err(io::Error::from)?.flush()
}

/// Names as a NumPy array of bytes (`S`).
pub fn names_npy(names: &[&[u8]]) -> io::Result<Vec<u8>> {
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0).max(1);
    let kind: npyz::TypeStr = format!("|S{longest}").parse().map_err(|_| io::Error::other("a name is too long"))?;
    let mut bytes = io::Cursor::new(Vec::new());
    let mut writer = npyz::WriteOptions::new()
        .dtype(npyz::DType::Plain(kind))
        .shape(&[names.len() as u64])
        .writer(&mut bytes)
        .begin_nd()?;
    for name in names {
        writer.push(*name)?;
    }
    writer.finish()?;
    Ok(bytes.into_inner())
}

/// Writes f32 tensors to a .safetensors file, with `metadata` in its header.
pub fn write_tensors(
    path: &Path,
    tensors: &[(&str, Vec<usize>, &[f32])],
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Failure> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
            view.map(|view| (*name, view))
        })
        .collect();
    // The safetensors crate's own function makes files that only their owner can read, so it is not used.
    let whole = views.and_then(|views| safetensors::serialize(views, metadata)).map_err(io::Error::other);
    let written = whole.and_then(|bytes| std::fs::write(path, bytes));
    written.map_err(|source| Failure::Engine(Error::Io { path: path.to_path_buf(), source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_by_the_crates_of_their_formats() {
        for shape in [&[3][..], &[2, 5], &[1, 2, 3], &[1234, 76]] {
            let head = npy_head(shape);
            assert_eq!(head.len() % 64, 0);
            let values = shape.iter().product::<usize>();
            let file = [&head[..], &vec![0; 4 * values]].concat();
            let read = npyz::NpyFile::new(&file[..]).unwrap();
            assert_eq!(read.shape().iter().map(|n| *n as usize).collect::<Vec<_>>(), shape);
            assert_eq!(read.into_vec::<f32>().unwrap().len(), values);
            let names = ["a\"b".to_owned(), "ü".to_owned()];
            let file = [&safetensors_head(shape, "image", &names)[..], &vec![0; 4 * values]].concat();
            let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
            assert_eq!(tensors.tensor("embeddings").unwrap().shape(), shape);
            let (_, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
            let images = metadata.metadata().as_ref().unwrap()["images"].clone();
            assert_eq!(serde_json::from_str::<Vec<String>>(&images).unwrap(), names);
        }
    }
}
