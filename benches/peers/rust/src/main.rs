//! Runs one ViT in an engine written in Rust, for `peers.py`: checks nothing itself, writes logits and prints times.
//!
//! `vit-peers candle|tract --model FILE --input X.safetensors --output Y.safetensors --runs N --threads N`: `pixel_values`
//! `[B, 3, 224, 224]` f32 in, `logits` `[B, 1000]` f32 out, and on standard output `{"seconds": [...]}` of `N` warm runs.
//! The model is a safetensors file with transformers' names for candle, an ONNX file for tract.

mod candle;
mod tract;

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Shape and values of a batch of images or logits.
pub struct Batch {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

fn read(path: &Path) -> Result<Batch, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = file.tensor("pixel_values")?;
    let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Batch { shape: tensor.shape().to_vec(), values })
}

fn write(path: &Path, logits: &Batch) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<u8> = logits.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, logits.shape.clone(), &bytes)?;
    Ok(safetensors::serialize_to_file([("logits", view)], None, path)?)
}

/// Times `runs` warm runs after two others; the last result is written.
pub fn times(
    runs: usize,
    output: &Path,
    mut run: impl FnMut() -> Result<Batch, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut logits = run()?;
    run()?;
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        logits = run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    write(output, &logits)?;
    println!("{}", serde_json::json!({ "seconds": seconds }));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let engine = given.next().ok_or("which engine? candle or tract")?;
    let mut options = HashMap::new();
    while let (Some(name), Some(value)) = (given.next(), given.next()) {
        options.insert(name, value);
    }
    let option = |name: &str| options.get(name).ok_or(format!("{name} is missing"));
    let path = |name: &str| option(name).map(PathBuf::from);
    let (model, output) = (path("--model")?, path("--output")?);
    let (runs, threads) = (option("--runs")?.parse()?, option("--threads")?.parse()?);
    let pixels = read(&path("--input")?)?;
    match engine.as_str() {
        "candle" => candle::run(&model, pixels, runs, &output),
        "tract" => tract::run(&model, pixels, threads, runs, &output),
        other => Err(format!("no engine {other:?}: candle or tract").into()),
    }
}
