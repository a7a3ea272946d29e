//! Results on disk and in JSON: the one place that writes them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder;
use serde_json::{Value, json};
use vit_gpu::{Error, Session};

use super::Failure;
use super::inputs::Input;

/// Formats of files of vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Npy,
    Npz,
    Safetensors,
    Jsonl,
}

/// The name of an image, with its vector or its error.
pub type Row = (String, Result<Vec<f32>, String>);

/// The format that a file's name ends in.
pub fn format_of(path: &Path) -> Result<Format, Failure> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("npy") => Ok(Format::Npy),
        Some("npz") => Ok(Format::Npz),
        Some("safetensors") => Ok(Format::Safetensors),
        Some("jsonl") => Ok(Format::Jsonl),
        _ => {
            Err(Failure::Usage(format!("{}: --output must end in .npy, .npz, .safetensors or .jsonl", path.display())))
        }
    }
}

/// The JSON object of an image: its result under `key`, with where it was computed, or its error.
pub fn record(session: &Session, input: &Input, key: &str, result: vit_gpu::Result<Value>) -> Value {
    match result {
        Ok(result) => json!({
            "image": input.name(),
            key: result,
            "model": session.model().name(),
            "device": session.device(),
            "precision": session.precision().name(),
        }),
        Err(error) => json!({"image": input.name(), "error": error.to_string()}),
    }
}

/// A file that is written as `NAME.part` and takes its place when it is whole, so that `NAME` is never half of a result and an
/// error of its folder comes before the work. After a failure, `NAME.part` keeps what was written, if anything was.
pub struct Pending {
    target: PathBuf,
    part: PathBuf,
    finished: bool,
}

impl Pending {
    pub fn create(target: &Path) -> Result<Pending, Error> {
        let io = |source| Error::Io { path: target.to_path_buf(), source };
        let special = match target.metadata() {
            Ok(there) if there.is_dir() => return Err(io(io::ErrorKind::IsADirectory.into())),
            Ok(there) => !there.is_file(),
            Err(_) => false,
        };
        // A device or a pipe is written itself, and opened once: its reader would take the first end for the last.
        let mut part = target.as_os_str().to_owned();
        if !special {
            part.push(".part");
            File::create(&part).map_err(io)?;
        }
        Ok(Pending { target: target.to_path_buf(), part: part.into(), finished: special })
    }

    /// Where to write.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Puts the file in its place.
    pub fn finish(mut self) -> Result<(), Error> {
        if !self.finished {
            let io = |source| Error::Io { path: self.target.clone(), source };
            std::fs::rename(&self.part, &self.target).map_err(io)?;
            self.finished = true;
        }
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let empty = self.part.metadata().is_ok_and(|part| part.is_file() && part.len() == 0);
        if !self.finished && empty {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Makes a file, or empties the one that is there.
pub fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

/// Rows of images that failed are NaN, so that row i is always image i.
pub fn write_rows(path: &Path, format: Format, rows: &[Row], shape: &[usize]) -> Result<(), Failure> {
    let nan = vec![f32::NAN; shape.iter().product()];
    let shape: Vec<usize> = std::iter::once(rows.len()).chain(shape.iter().copied()).collect();
    let values: Vec<f32> = rows.iter().flat_map(|(_, row)| row.as_ref().unwrap_or(&nan).iter().copied()).collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    match format {
        Format::Npy => npy(BufWriter::new(create(path)?), &shape, &values)?,
        Format::Npz => {
            let mut zip = zip::ZipWriter::new(BufWriter::new(create(path)?));
            let stored = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored)
                .large_file(true);
            let mut member = |name: &str, bytes: Vec<u8>| -> io::Result<()> {
                zip.start_file(name, stored)?;
                zip.write_all(&bytes)
            };
            let mut bytes = io::Cursor::new(Vec::new());
            npy(&mut bytes, &shape, &values)?;
            member("embeddings.npy", bytes.into_inner())?;
            member("images.npy", names_npy(&names)?)?;
            zip.finish().map_err(io::Error::from)?.flush()?;
        }
        Format::Safetensors => {
            let metadata = HashMap::from([("images".to_owned(), json!(names).to_string())]);
            write_tensors(path, &[("embeddings", shape, &values)], Some(metadata))?;
        }
        Format::Jsonl => {}
    }
    Ok(())
}

fn npy(mut out: impl Write + Seek, shape: &[usize], values: &[f32]) -> io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    out.flush()
}

/// Names as a NumPy array of UTF-8 bytes (`S`).
fn names_npy(names: &[&str]) -> io::Result<Vec<u8>> {
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0).max(1);
    let kind: npyz::TypeStr = format!("|S{longest}").parse().map_err(|_| io::Error::other("a name is too long"))?;
    let mut bytes = io::Cursor::new(Vec::new());
    let mut writer = npyz::WriteOptions::new()
        .dtype(npyz::DType::Plain(kind))
        .shape(&[names.len() as u64])
        .writer(&mut bytes)
        .begin_nd()?;
    for name in names {
        writer.push(name.as_bytes())?;
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
