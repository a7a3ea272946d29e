//! The images given on the command line, read and run in batches.

use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc;

use rayon::prelude::*;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Image, Orient, Result, Session};

use super::options::BatchSize;
use super::progress::Progress;
use super::{Failure, Outcome};

/// One image to read, by the name it is reported under.
#[derive(Debug)]
pub enum Input {
    File(PathBuf),
    Stdin,
    /// An entry of a folder that can't be read at all, and why.
    Unreadable(PathBuf, String),
}

impl Input {
    pub fn name(&self) -> String {
        match self {
            Input::File(path) | Input::Unreadable(path, _) => path.display().to_string(),
            Input::Stdin => "-".to_owned(),
        }
    }

    pub fn read(&self, orient: Orient) -> Result<Image> {
        match self {
            Input::File(path) => Image::open_with(path, orient),
            Input::Unreadable(_, reason) => {
                Err(Error::Image { image: self.name(), reason: reason.clone(), source: None })
            }
            Input::Stdin => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().read_to_end(&mut bytes);
                read.map_err(|source| Error::Io { path: "-".into(), source })?;
                Image::decode(&bytes, "-", orient)
            }
        }
    }
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
