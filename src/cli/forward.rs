//! `vit-gpu forward`: tensors in, tensors out, no image code: the way to compare with another framework.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use vit_gpu::Error;
use vit_gpu::checkpoint::Tensors;

use super::options::RunOptions;
use super::{Ended, Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// A .safetensors file with `pixel_values` [B, C, H, W], already normalised
    #[arg(long, short, value_name = "FILE")]
    input: PathBuf,
    /// Where `logits`, `pooled` and `last_hidden_state` go
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Also write `hidden_states.i`, the input of every block and the output of the last
    #[arg(long)]
    taps: bool,
    #[command(flatten)]
    run: RunOptions,
}

pub fn run(args: &Args) -> Ended {
    let (shape, values) = Tensors::open(&args.input)?.values("pixel_values")?;
    let session = args.run.session()?;
    let cfg = &session.checkpoint().config;
    let (h, w) = cfg.img_size;
    if shape.len() != 4 || shape[1..] != [cfg.in_chans, h, w] || shape[0] == 0 {
        let reason = format!("pixel_values is {shape:?}, the model takes [B, {}, {h}, {w}]", cfg.in_chans);
        return Err(Error::Usage(format!("{}: {reason}", args.input.display())).into());
    }
    let outputs = session.forward(&values, args.taps)?;
    let tensors: Vec<_> = outputs.0.iter().map(|o| (o.name.as_str(), o.shape.clone(), o.values.as_slice())).collect();
    write_tensors(&args.output, &tensors, None)?;
    for (name, shape, _) in tensors {
        args.run.chatter.detail(&format!("{name} {shape:?}"));
    }
    args.run.chatter.tuning(&session);
    Ok(Outcome::Done)
}

/// Writes f32 tensors to a .safetensors file, with `metadata` in its header.
pub fn write_tensors(
    path: &Path,
    tensors: &[(&str, Vec<usize>, &[f32])],
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Failure> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
            view.map(|view| (*name, view))
        })
        .collect();
    let written = views.and_then(|views| safetensors::serialize_to_file(views, metadata, path));
    written.map_err(|error| Failure::Engine(Error::Io { path: path.to_path_buf(), source: io::Error::other(error) }))
}
