//! tract on the ONNX file, optimised for the batch at hand.

use std::error::Error;
use std::path::Path;

use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::prelude::*;

use crate::{Batch, times};

pub fn run(model: &Path, pixels: Batch, threads: usize, runs: usize, output: &Path) -> Result<(), Box<dyn Error>> {
    let model = tract_onnx::onnx()
        .model_for_path(model)?
        .with_input_fact(0, f32::fact(&pixels.shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let pixels = Tensor::from_shape(&pixels.shape, &pixels.values)?;
    multithread_tract_scope(Executor::multithread(threads), || {
        times(runs, output, || {
            let logits = model.run(tvec!(pixels.clone().into()))?;
            let logits = &logits[0];
            Ok(Batch { shape: logits.shape().to_vec(), values: logits.try_as_plain_ram()?.as_slice::<f32>()?.to_vec() })
        })
    })
}
