//! candle's own ViT (`candle-transformers`), on its processor backend; it takes as many threads as there are cores.

use std::error::Error;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::vit::{Config, Model};

use crate::{Batch, times};

pub fn run(model: &Path, pixels: Batch, runs: usize, output: &Path) -> Result<(), Box<dyn Error>> {
    let device = Device::Cpu;
    let weights = VarBuilder::from_buffered_safetensors(std::fs::read(model)?, DType::F32, &device)?;
    let config = Config { layer_norm_eps: 1e-6, ..Config::vit_base_patch16_224() };
    let model = Model::new(&config, 1000, weights)?;
    let pixels = Tensor::from_vec(pixels.values, pixels.shape, &device)?;
    times(runs, output, || {
        let logits = model.forward(&pixels)?;
        Ok(Batch { shape: logits.dims().to_vec(), values: logits.flatten_all()?.to_vec1()? })
    })
}
