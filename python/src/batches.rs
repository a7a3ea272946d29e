//! Many images in batches: while one batch is computed, the files of the next are read and decoded.

use std::panic::resume_unwind;

use pyo3::prelude::*;
use rayon::prelude::*;
use vit_gpu::{Image, Result, Session};

use crate::errors::{exception, of_image};
use crate::images::{Images, Source};
use crate::options::OnError;

type Decoded = Vec<(String, Result<Image>)>;

/// The result of each image, in order; `None` for an image without one, if `on_error` allows that.
///
/// The interpreter's lock is released while images are read, decoded and computed. Between two batches, Python's signals are
/// handled, so that Ctrl-C ends the call.
pub fn each<T: Send>(
    py: Python<'_>,
    session: &Session,
    images: &Images<'_>,
    on_error: OnError,
    run: impl Fn(&[Image]) -> Result<Vec<Result<T>>> + Sync,
) -> PyResult<Vec<Option<T>>> {
    let count = images.len();
    let step = if count < 2 { None } else { py.detach(|| session.batch_size()).map_err(|error| exception(&error))? };
    let step = step.unwrap_or(count).max(1);
    let mut all = Vec::with_capacity(count);
    let first = images.sources(0..step.min(count))?;
    let mut decoded = py.detach(|| decode(first));
    while all.len() < count {
        let at = (all.len() + step).min(count);
        let next = images.sources(at..(at + step).min(count))?;
        let (results, ahead) = py.detach(|| batch_and_next(decoded, next, &run));
        for result in results.map_err(|error| exception(&error))? {
            match (result, on_error) {
                (Ok(result), _) => all.push(Some(result)),
                (Err(error), OnError::Raise) => return Err(exception(&error)),
                (Err(_), OnError::None) => all.push(None),
            }
        }
        decoded = ahead;
        py.check_signals()?;
    }
    Ok(all)
}

/// Computes a batch, and decodes the next one at the same time.
fn batch_and_next<T>(
    decoded: Decoded,
    next: Vec<Source>,
    run: &impl Fn(&[Image]) -> Result<Vec<Result<T>>>,
) -> (Result<Vec<Result<T>>>, Decoded) {
    if next.is_empty() {
        return (compute(decoded, run), Vec::new());
    }
    std::thread::scope(|scope| {
        let ahead = scope.spawn(|| decode(next));
        let results = compute(decoded, run);
        (results, ahead.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn decode(sources: Vec<Source>) -> Decoded {
    match sources.len() {
        1 => sources.into_iter().map(Source::decode).collect(),
        _ => sources.into_par_iter().map(Source::decode).collect(),
    }
}

/// Computes the images that were decoded. An image that was not keeps its error.
fn compute<T>(decoded: Decoded, run: &impl Fn(&[Image]) -> Result<Vec<Result<T>>>) -> Result<Vec<Result<T>>> {
    let images: Vec<Image> = decoded.iter().filter_map(|(_, image)| image.as_ref().ok().cloned()).collect();
    let results = if images.is_empty() { Vec::new() } else { run(&images)? };
    let mut results = results.into_iter();
    let in_order = decoded.into_iter().filter_map(|(name, image)| match image {
        Ok(_) => results.next().map(|result| result.map_err(|error| of_image(error, &name))),
        Err(error) => Some(Err(error)),
    });
    Ok(in_order.collect())
}
