//! Where results go: rows on stdout, or in a file that is whole or not there.

mod identity;
mod parquet;
mod part;
mod vectors;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};
use vit_gpu::{Error, Session};

use super::Failure;
use super::inputs::Input;
use part::Part;

pub use identity::Identity;
pub use parquet::{Embeddings, classes as parquet_of_classes, embeddings as parquet_of_embeddings};
pub use vectors::{names_npy, npy_head, npz, safetensors_head, write_tensors};

/// Formats of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Jsonl,
    Html,
    Csv,
    Parquet,
    Npy,
    Npz,
    Safetensors,
}

impl Format {
    /// The format that a file's name ends in, if it is one of `known`.
    pub fn of(path: &Path, known: &[Format]) -> Result<Format, Failure> {
        Format::named(path, "--output", known)
    }

    /// The same, for a file that is named by this option.
    pub fn named(path: &Path, option: &str, known: &[Format]) -> Result<Format, Failure> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let found = known.iter().find(|format| ending.as_deref() == Some(format.ending()));
        found.copied().ok_or_else(|| {
            let endings: Vec<_> = known.iter().map(|format| format!(".{}", format.ending())).collect();
            Failure::Usage(format!("{}: {option} must end in {}", path.display(), either(&endings)))
        })
    }

    fn ending(self) -> &'static str {
        match self {
            Format::Text => "txt",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Html => "html",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Safetensors => "safetensors",
        }
    }
}

/// `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [words @ .., last] if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        _ => words.concat(),
    }
}

/// Turns results into the bytes of a file, a row for each image.
pub trait Encode<R> {
    /// What the file begins with.
    fn head(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Appends the row of image `number`, counted from 0.
    fn row(&self, number: usize, input: &Input, result: &vit_gpu::Result<R>, out: &mut Vec<u8>) -> io::Result<()>;

    /// What the file ends with.
    fn tail(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Makes the file of the rows, for formats that can't be written row by row.
    fn convert(&self) -> Option<Box<Convert<'_>>> {
        None
    }
}

/// Makes the second file of the rows in the first.
pub type Convert<'a> = dyn Fn(File, File) -> io::Result<()> + 'a;

/// Where rows go.
pub enum Output {
    /// To whoever reads them at once.
    Stream(Box<dyn Write>),
    /// To a file that takes its place when it is whole.
    File(Box<Part>),
}

impl Output {
    /// Opens a file, or stdout, before anything is computed for it.
    ///
    /// # Errors
    /// As [`Part::open`]; [`Failure::Usage`] if what is no file is to be resumed.
    pub fn open(target: Option<&Path>, resume: bool) -> Result<Output, Failure> {
        let Some(target) = target else {
            let needs = Failure::Usage("--resume needs --output".to_owned());
            return if resume { Err(needs) } else { Ok(Output::Stream(Box::new(BufWriter::new(io::stdout())))) };
        };
        match target.metadata() {
            // A device or a pipe is written itself, and opened once: its reader would take the first end for the last.
            Ok(there) if !there.is_file() && !there.is_dir() => {
                if resume {
                    return Err(Failure::Usage(format!("{}: not a file, so --resume can't go on", target.display())));
                }
                let opened = OpenOptions::new().write(true).open(target);
                let opened = opened.map_err(|source| Error::Io { path: target.to_path_buf(), source })?;
                Ok(Output::Stream(Box::new(BufWriter::new(opened))))
            }
            _ => Ok(Output::File(Box::new(Part::open(target, resume)?))),
        }
    }

    /// Writes what the file begins with, or finds the end of what an earlier run wrote. Returns how many images are done.
    pub fn begin(
        &mut self,
        identity: impl FnOnce() -> vit_gpu::Result<Identity>,
        head: &[u8],
    ) -> Result<usize, Failure> {
        match self {
            Output::Stream(out) => out.write_all(head).map(|()| 0).map_err(Failure::Output),
            Output::File(part) => part.begin(&identity()?, head),
        }
    }

    /// Writes the last rows of the first `images` images.
    pub fn write(&mut self, rows: &[u8], images: usize) -> io::Result<()> {
        match self {
            Output::Stream(out) => out.write_all(rows).and_then(|()| out.flush()),
            Output::File(part) => part.write(rows).and_then(|()| part.commit(images)),
        }
    }

    /// Ends a run that did all it had to.
    pub fn finish(self, tail: &[u8], convert: Option<&Convert<'_>>) -> Result<(), Failure> {
        match self {
            Output::Stream(mut out) => Ok(out.write_all(tail).and_then(|()| out.flush())?),
            Output::File(mut part) => {
                part.write(tail)?;
                part.finish(convert)
            }
        }
    }

    /// Ends a run that stopped early: a reader gets a whole text, a file stays as it is. Returns where `--resume` would go on.
    pub fn leave(self, tail: &[u8]) -> Option<String> {
        match self {
            Output::Stream(mut out) => {
                // The run has ended for another reason, which is the one to report.
                let _ = out.write_all(tail).and_then(|()| out.flush());
                None
            }
            Output::File(part) => part.left().map(|(path, images)| {
                format!("{} has the rows of {images} images, and --resume goes on from there", path.display())
            }),
        }
    }
}

/// Where results were computed: the model, the device and the precision.
pub fn about(session: &Session) -> [(&'static str, &str); 3] {
    let precision = session.precision().name();
    [("model", session.model().name()), ("device", session.device()), ("precision", precision)]
}

/// The JSON object of an image: its result under `key`, with where it was computed, or its error.
pub fn record(session: &Session, input: &Input, key: &str, result: Result<Value, &Error>) -> Value {
    let mut record = named_record(input.kind(), input.path());
    match result {
        Ok(result) => {
            record[key] = result;
            about(session).into_iter().for_each(|(what, name)| record[what] = json!(name));
        }
        Err(error) => record["error"] = json!(error.to_string()),
    }
    record
}

/// A JSON object with the name of an image or text (`kind`). A name that is not Unicode can't be JSON's text, so its bytes are given
/// as well.
pub fn named_record(kind: &str, path: &Path) -> Value {
    let mut record = json!({kind: path.display().to_string()});
    let bytes = path.as_os_str().as_encoded_bytes();
    if std::str::from_utf8(bytes).is_err() {
        record["image_bytes"] = json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    record
}

/// Writes a file that is whole or not there: under another name first. Its name is in the error.
pub fn write_whole(path: &Path, write: impl FnOnce(File) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let io = |source| Failure::Engine(Error::Io { path: path.to_path_buf(), source });
    // A device or a pipe is written itself.
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return write(OpenOptions::new().write(true).open(path).map_err(io)?);
    }
    let file = File::create(part).map_err(io)?;
    let written = write(file).and_then(|()| std::fs::rename(part, path).map_err(io));
    if written.is_err() {
        // The error is the one to report.
        let _ = std::fs::remove_file(part);
    }
    match written {
        Err(Failure::Output(source)) => Err(io(source)),
        written => written,
    }
}
