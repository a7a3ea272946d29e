//! The images given on the command line: their names, their bytes, and how they are decoded.

use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use vit_gpu::internals::preprocess::{decode_truncated, size};
use vit_gpu::{Error, Image, Orient, Result};

/// One image to read, by the name it is reported under. There may be many, so each takes little more than its path.
#[derive(Debug, Clone)]
pub enum Input {
    File(Box<Path>),
    Stdin,
    /// No image, but a text to embed.
    Text(Box<str>),
    /// An entry of a folder that can't be read at all, and why.
    Unreadable(Box<(PathBuf, String)>),
}

impl Input {
    pub fn path(&self) -> &Path {
        match self {
            Input::File(path) => path,
            Input::Unreadable(entry) => &entry.0,
            Input::Stdin => Path::new("-"),
            Input::Text(text) => Path::new(&**text),
        }
    }

    /// What it is called in results: `image` or `text`.
    pub fn kind(&self) -> &'static str {
        if matches!(self, Input::Text(_)) { "text" } else { "image" }
    }

    /// Its name for people; bytes that are not Unicode are shown as `�`.
    pub fn name(&self) -> String {
        self.path().display().to_string()
    }

    /// Its name as the system has it.
    pub fn name_bytes(&self) -> &[u8] {
        self.path().as_os_str().as_encoded_bytes()
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let fail = |reason: String, source| Error::Image { image: self.name(), reason, source };
        let io = |error: std::io::Error| fail(error.to_string(), Some(error.into()));
        match self {
            Input::File(path) => std::fs::read(path).map_err(io),
            Input::Unreadable(entry) => Err(fail(entry.1.clone(), None)),
            Input::Text(_) => Err(fail("a text is no image".to_owned(), None)),
            Input::Stdin => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).map_err(io)?;
                Ok(bytes)
            }
        }
    }
}

/// How images are decoded.
#[derive(Clone, Copy)]
pub struct Reading {
    pub orient: Orient,
    /// Whether a file that ends too early is read as far as it goes.
    pub truncated: bool,
    /// Bytes that decoding may use in all, on all threads; a single picture may need more.
    pub memory: u64,
}

impl Default for Reading {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
        Reading { orient: Orient::Exif, truncated: false, memory: (threads * PER_THREAD).max(AT_LEAST) }
    }
}

/// Memory for decoding: so much for each thread that decodes, and so much at least.
const PER_THREAD: u64 = 256 << 20;
const AT_LEAST: u64 = 1 << 30;

impl Reading {
    pub fn decode(&self, bytes: &[u8], name: &str) -> Result<Image> {
        let decode = if self.truncated { decode_truncated } else { Image::decode };
        decode(bytes, name, self.orient)
    }

    /// About how many bytes it takes to decode this file: the picture, the decoder's own copy of it, and a turned one.
    pub fn memory_for(&self, bytes: &[u8]) -> u64 {
        let (width, height) = size(bytes).unwrap_or((0, 0));
        9 * width.saturating_mul(height) + bytes.len() as u64
    }
}

/// The same error, with the name of the image that it concerns.
pub fn named(error: Error, input: &Input) -> Error {
    match error {
        Error::Image { reason, source, .. } => Error::Image { image: input.name(), reason, source },
        Error::NotFinite { output, row, weight, precision, .. } => {
            Error::NotFinite { output, row, image: Some(input.name()), weight, precision }
        }
        other => other,
    }
}
