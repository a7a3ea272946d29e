//! `vit-gpu forward`: runs tensors from a file through the model and writes tensors. Useful for comparing with another framework.

use std::path::PathBuf;

use vit_gpu::Outputs;
use vit_gpu::internals::checkpoint::Tensors;

use super::options::RunOptions;
use super::outputs::write_tensors;
use super::{Ended, Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// A .safetensors file with `pixel_values` [B, C, H, W], already normalised, and optionally `labels` [B]
    #[arg(long, short, value_name = "FILE")]
    input: PathBuf,
    /// The .safetensors file to write `logits`, `pooled` and `last_hidden_state` to; with `labels` also `loss`, the mean cross-entropy
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Also write `hidden_states.i`, the input of every block and the output of the last
    #[arg(long)]
    taps: bool,
    #[command(flatten)]
    run: RunOptions,
}

pub fn run(args: &Args) -> Ended {
    let input = Tensors::open(&args.input)?;
    let (shape, values) = input.values("pixel_values")?;
    // If the tensor has another size, the model runs at that size if its library would resample the positions for it.
    let session = match shape[..] {
        [_, _, h, w] => args.run.session_of(|| args.run.model.open_for((h, w), args.run.verbosity.quiet))?,
        _ => args.run.session()?,
    };
    let cfg = &session.checkpoint().config;
    let (h, w) = cfg.img_size;
    if shape.len() != 4 || shape[1..] != [cfg.in_chans, h, w] || shape[0] == 0 {
        let reason = format!("pixel_values is {shape:?}, the model takes [B, {}, {h}, {w}]", cfg.in_chans);
        return Err(named(args, &reason));
    }
    let outputs = session.forward(&values, args.taps)?;
    let mut tensors: Vec<_> =
        outputs.0.iter().map(|o| (o.name.as_str(), o.shape.clone(), o.values.as_slice())).collect();
    let loss = match input.shapes().any(|(name, _)| name == "labels") {
        true => Some([loss(&outputs, &input.values("labels")?.1).map_err(|reason| named(args, &reason))?]),
        false => None,
    };
    if let Some(loss) = &loss {
        tensors.push(("loss", vec![1], loss));
    }
    write_tensors(&args.output, &tensors, None)?;
    for (name, shape, _) in tensors {
        args.run.verbosity.detail(&format!("{name} {shape:?}"));
    }
    args.run.verbosity.tuning(&session);
    Ok(Outcome::Done)
}

fn named(args: &Args, reason: &str) -> Failure {
    Failure::Usage(format!("{}: {reason}", args.input.display()))
}

/// Mean over the batch of −ln softmax(logits)[label], as PyTorch's `F.cross_entropy`.
fn loss(outputs: &Outputs, labels: &[f32]) -> Result<f32, String> {
    let logits = outputs.get("logits").ok_or("`labels` are given, but the model has no logits")?;
    let (batch, classes) = (logits.shape[0], logits.shape[1]);
    if labels.len() != batch {
        return Err(format!("{} `labels` for {batch} images", labels.len()));
    }
    let mut sum = 0.0f64;
    for (row, label) in logits.values.chunks_exact(classes).zip(labels) {
        let at = *label as usize;
        if *label < 0.0 || at >= classes || at as f32 != *label {
            return Err(format!("label {label} of {classes} classes"));
        }
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = row.iter().map(|v| f64::from(v - max).exp()).sum();
        sum += f64::from(max) + total.ln() - f64::from(row[at]);
    }
    let loss = (sum / batch as f64) as f32;
    if loss.is_finite() { Ok(loss) } else { Err(format!("the loss is {loss}")) }
}
