//! The features of all photos, from the cache or from the model.

use vit_gpu::Session;
use vit_gpu::insight::Features;

use super::super::batches::Batches;
use super::super::inputs::Input;
use super::super::options::{BatchSize, ImageOptions};
use super::super::{Failure, Outcome};
use super::cache::{Cache, key};

/// The features of each photo that has any, and those that have none, with the reason.
pub struct Gathered {
    pub rows: Vec<Option<Vec<f32>>>,
    pub failed: Vec<(String, String)>,
}

/// Takes features from the cache, and computes and keeps those that it lacks: all that the model has, so that other ones need no
/// run either. `None` if the user ended the run; what was computed is kept.
pub fn gather(
    session: &Session,
    inputs: &[Input],
    features: Features,
    reading: &ImageOptions,
    batch_size: BatchSize,
) -> Result<Option<Gathered>, Failure> {
    let model = session.model();
    let all = Features::all(model);
    // What the model does not have is refused before anything is computed.
    features.out_of(model, &vec![0.0; all.dim(model)])?;
    let mut cache = Cache::open(session, &reading.options(), all.dim(model))?;
    let mut rows: Vec<Option<Vec<f32>>> = vec![None; inputs.len()];
    let (mut missing, mut numbers) = (Vec::new(), Vec::new());
    for (number, input) in inputs.iter().enumerate() {
        match key(input).and_then(|key| cache.get(&key)) {
            Some(row) => rows[number] = Some(features.out_of(model, row)?),
            None => {
                missing.push(input.clone());
                numbers.push(number);
            }
        }
    }
    if missing.len() < inputs.len() {
        let known = inputs.len() - missing.len();
        log::info!("the features of {known} of {} images are from the cache", inputs.len());
    }
    let mut failed = Vec::new();
    if missing.is_empty() {
        return Ok(Some(Gathered { rows, failed }));
    }
    let batches = Batches { session, inputs: &missing, reading: reading.reading(), batch_size };
    let compute = |pixels: &[_]| {
        let tokens = session.tokens_of_pixels(pixels, None)?;
        Ok(tokens.into_iter().map(|tokens| all.of_tokens(model, &tokens?)).collect())
    };
    let mut numbers = numbers.into_iter();
    let ended = batches.run(0, compute, |batch| {
        for ((input, result), number) in batch.into_iter().zip(numbers.by_ref()) {
            match result {
                Ok(row) => {
                    rows[number] = Some(features.out_of(model, &row)?);
                    if let Some(key) = key(input) {
                        cache.put(key, &row);
                    }
                }
                Err(error) => failed.push((input.name(), error.to_string())),
            }
        }
        Ok(())
    });
    cache.save();
    Ok((ended? != Outcome::Interrupted).then_some(Gathered { rows, failed }))
}
