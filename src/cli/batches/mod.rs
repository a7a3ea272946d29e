//! Images run in batches: read ahead by several threads, computed, and written as rows in the order of the inputs.

mod budget;
pub mod interrupt;
mod readers;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::{Duration, Instant};

use vit_gpu::internals::model::Batch;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Result, Session};

use super::inputs::{Input, Reading, named};
use super::options::BatchSize;
use super::outputs::{Encode, Identity, Output};
use super::progress::Progress;
use super::{Failure, Outcome};
use readers::{Read, Readers, Skips, StopAtEnd};

/// What is run, and how.
pub struct Batches<'a> {
    pub session: &'a Session,
    pub inputs: &'a [Input],
    pub reading: Reading,
    pub batch_size: BatchSize,
}

/// What a batch gives: one result for each of its images.
type Each<R> = Vec<Result<R>>;

impl Batches<'_> {
    /// Runs all images through `compute` and writes their rows. `each` is called for every image when its row is written.
    /// An image without a result does not affect the others: its error is logged, and is its row.
    ///
    /// # Errors
    /// Of the model, of the device and of the output, after which the output keeps what was written.
    pub fn write<R>(
        &self,
        mut output: Output,
        encode: &dyn Encode<R>,
        mut options: BTreeMap<String, String>,
        compute: impl FnMut(&[Pixels]) -> Result<Each<R>>,
        mut each: impl FnMut(&Input, &R),
    ) -> Result<Outcome, Failure> {
        // In some models the images of a batch depend on each other.
        if self.session.checkpoint().config.batch != Batch::Independent {
            options.insert("--batch-size".to_owned(), self.batch()?.to_string());
        }
        let done = output.begin(|| Identity::of(self.session, options, self.inputs), &encode.head())?;
        if done > 0 {
            log::info!("going on after {done} of {} images", self.inputs.len());
        }
        let mut written = done;
        let ran = self.run(done, compute, |batch| {
            let mut rows = Vec::new();
            for (number, (input, result)) in (written..).zip(&batch) {
                encode.row(number, input, result, &mut rows)?;
            }
            output.write(&rows, written + batch.len())?;
            written += batch.len();
            batch.iter().for_each(|(input, result)| {
                if let Ok(result) = result {
                    each(input, result);
                }
            });
            Ok(())
        });
        match ran {
            Ok(outcome @ (Outcome::Done | Outcome::InputFailed)) => {
                output.finish(&encode.tail(), encode.convert().as_deref())?;
                Ok(outcome)
            }
            ended => {
                let kept = output.leave(&encode.tail());
                let stopped = matches!(ended, Ok(Outcome::Interrupted));
                if stopped || kept.is_some() {
                    let kept = kept.map_or(String::new(), |kept| format!(": {kept}"));
                    log::warn!("stopped after {written} of {} images{kept}", self.inputs.len());
                }
                ended
            }
        }
    }

    /// How many images are run together.
    fn batch(&self) -> Result<usize> {
        match self.batch_size {
            BatchSize::Auto => self.session.auto_batch(),
            BatchSize::Of(size) => Ok(size),
        }
    }

    /// Runs the images from number `first` on, and hands every batch of results to `report`, in order of the inputs.
    pub fn run<R>(
        &self,
        first: usize,
        compute: impl FnMut(&[Pixels]) -> Result<Each<R>>,
        mut report: impl FnMut(Vec<(&Input, Result<R>)>) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        self.run_new(first, &|_, _| false, compute, |batch| {
            report(batch.into_iter().map(|(input, result)| (input, there(result))).collect())
        })
    }

    /// As [`Batches::run`], where `skips` may say by the bytes of an image that it need not be run; its result is `None`.
    pub fn run_new<R>(
        &self,
        first: usize,
        skips: &Skips<'_>,
        mut compute: impl FnMut(&[Pixels]) -> Result<Each<R>>,
        mut report: impl FnMut(Vec<(&Input, Result<Option<R>>)>) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let batch = self.batch()?;
        interrupt::catch();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let progress = Progress::bar(self.inputs.len(), first);
        let readers = Readers::new(self.inputs, first, (batch, threads), self.reading, skips);
        let mut outcome = Outcome::Done;
        let mut reduced = usize::MAX;
        let (mut waited, mut computed) = (Duration::ZERO, Duration::ZERO);
        let mut inputs = self.inputs.get(first..).unwrap_or_default().iter();
        std::thread::scope(|scope| {
            let _stop = StopAtEnd(&readers);
            readers.start(scope, threads, self.session);
            let mut start = Instant::now();
            while let Some(images) = readers.take(batch) {
                waited += start.elapsed();
                start = Instant::now();
                let results = computed_in(images, &mut compute)?;
                computed += start.elapsed();
                if let Some(held) = self.session.reduced_batch().filter(|held| *held < reduced) {
                    reduced = held;
                    log::warn!("the device's memory ran out: no more than {held} images are run together from here on");
                }
                start = Instant::now();
                let count = results.len();
                let results: Vec<_> = inputs.by_ref().zip(results).collect();
                let named =
                    |(input, result): (_, Result<Option<R>>)| (input, result.map_err(|error| named(error, input)));
                let results: Vec<_> = results.into_iter().map(named).collect();
                for error in results.iter().filter_map(|(_, result)| result.as_ref().err()) {
                    outcome = Outcome::InputFailed;
                    log::error!("{error}");
                }
                report(results)?;
                progress.advance(count);
                progress.limited_by(if waited > computed { "reading images" } else { "the model" });
            }
            Ok(if inputs.len() > 0 { Outcome::Interrupted } else { outcome })
        })
    }
}

fn there<R>(result: Result<Option<R>>) -> Result<R> {
    result.and_then(|result| result.ok_or_else(missing))
}

fn missing() -> Error {
    Error::Shape { what: "results".into(), reason: "one is missing".into() }
}

/// Computes the images that could be read and are not skipped; the results and errors of all of them, in order.
fn computed_in<R>(
    images: Vec<Read>,
    compute: &mut impl FnMut(&[Pixels]) -> Result<Each<R>>,
) -> Result<Each<Option<R>>> {
    let mut pixels = Vec::with_capacity(images.len());
    let run: Vec<Result<bool>> =
        images.into_iter().map(|image| image.map(|image| image.map(|image| pixels.push(image)).is_some())).collect();
    let mut results = if pixels.is_empty() { Vec::new() } else { compute(&pixels)? }.into_iter();
    let mut result = |run| if run { results.next().unwrap_or_else(|| Err(missing())).map(Some) } else { Ok(None) };
    Ok(run.into_iter().map(|run| run.and_then(&mut result)).collect())
}
