//! The images given on the command line: files, folders, standard input.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use rayon::prelude::*;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Image, Orient, Result, Session};

use super::options::BatchSize;
use super::progress::Progress;
use super::{Failure, Outcome};

/// A file in a folder is taken for an image if its name has one of these endings.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"];

/// One image to read, by the name it is reported under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    File(PathBuf),
    Stdin,
}

impl Input {
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "-".to_owned(),
        }
    }

    pub fn read(&self, orient: Orient) -> Result<Image> {
        match self {
            Input::File(path) => Image::open_with(path, orient),
            Input::Stdin => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().read_to_end(&mut bytes);
                read.map_err(|source| Error::Io { path: "-".into(), source })?;
                Image::decode(&bytes, "-", orient)
            }
        }
    }
}

/// Turns arguments into inputs: a file is one image, a folder stands for all images in and below it, sorted by name, `-` is standard input.
///
/// # Errors
/// [`Failure::Usage`] for a folder without images; [`Error::Io`] for one that can't be listed.
pub fn expand(arguments: &[String]) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
            inputs.push(Input::Stdin);
        } else if path.is_dir() {
            let before = inputs.len();
            walk(path, &mut inputs)?;
            if inputs.len() == before {
                let reason = format!("{argument}: no images in this folder ({})", ENDINGS.join(", "));
                return Err(Failure::Usage(reason));
            }
        } else {
            inputs.push(Input::File(path.to_path_buf()));
        }
    }
    Ok(inputs)
}

fn walk(folder: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    let io = |source| Error::Io { path: folder.to_path_buf(), source };
    let entries = std::fs::read_dir(folder).map_err(io)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(io)?;
    paths.sort();
    for path in paths {
        // A link to a folder is not followed, because it may lead back to a parent folder.
        let link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        if path.is_dir() && !link {
            walk(&path, inputs)?;
        } else if path.extension().is_some_and(|e| ENDINGS.iter().any(|known| e.eq_ignore_ascii_case(known)))
            && path.is_file()
        {
            inputs.push(Input::File(path));
        }
    }
    Ok(())
}

/// Reads and preprocesses images in batches, runs `compute` on those that could be read, and hands every result or error
/// to `report` in input order. An image without a result does not affect the others. The next batch is read while one is computed.
pub fn run_batches<R>(
    session: &Session,
    inputs: &[Input],
    (orient, batch_size, quiet): (Orient, BatchSize, bool),
    mut compute: impl FnMut(&[Pixels]) -> Result<Vec<Result<R>>>,
    mut report: impl FnMut(&Input, Result<R>) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let batch = match batch_size {
        BatchSize::Auto => session.auto_batch()?,
        BatchSize::Of(size) => size,
    };
    let progress = Progress::bar(inputs.len(), quiet);
    let mut outcome = Outcome::Done;
    std::thread::scope(|scope| {
        let (sender, ready) = mpsc::sync_channel(1);
        scope.spawn(move || {
            for inputs in inputs.chunks(batch) {
                // Sending fails if the run has ended early.
                if sender.send((inputs, read_all(session, inputs, orient))).is_err() {
                    return;
                }
            }
        });
        for (inputs, (pixels, errors)) in ready {
            let mut results = if pixels.is_empty() { Vec::new() } else { compute(&pixels)? }.into_iter();
            for (input, error) in inputs.iter().zip(errors) {
                let result = match error {
                    Some(error) => Err(error),
                    None => results.next().unwrap_or_else(|| Err(missing())),
                };
                let result = result.map_err(|error| named(error, input));
                if let Err(error) = &result {
                    outcome = Outcome::InputFailed;
                    progress.suspend(|| eprintln!("error: {error}"));
                }
                progress.suspend(|| report(input, result))?;
            }
            progress.advance(inputs.len());
        }
        Ok(outcome)
    })
}

/// The error of an image whose result the engine did not give.
fn missing() -> Error {
    Error::Shape { what: "results".into(), reason: "one is missing".into() }
}

/// The pixels of the images that could be read, and for each input its error or `None`.
fn read_all(session: &Session, inputs: &[Input], orient: Orient) -> (Vec<Pixels>, Vec<Option<Error>>) {
    let read = |input: &Input| {
        let image = input.read(orient)?;
        session.preprocess(&image).map_err(|error| named(error, input))
    };
    let mut pixels = Vec::with_capacity(inputs.len());
    let all: Vec<_> = inputs.par_iter().map(read).collect();
    let errors = all.into_iter().map(|read| read.map(|image| pixels.push(image)).err()).collect();
    (pixels, errors)
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
