//! `vit-gpu embed`: one pooled vector an image, or its tokens or patches, as .npy, .npz, .safetensors or JSON lines.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::json;
use vit_gpu::Session;
use vit_gpu::internals::model::VitConfig;
use vit_gpu::internals::normalize;
use vit_gpu::internals::preprocess::Pixels;

use super::folders::{FolderOptions, find};
use super::inputs::run_batches;
use super::options::{BatchSize, ImageOptions, RunOptions};
use super::outputs::{Format, Pending, Row, create, format_of, record, write_rows};
use super::{Ended, Failure};

#[derive(clap::Args)]
pub struct Args {
    /// Images, folders of images, or - for an image on standard input
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    images: Vec<OsString>,
    /// Output file: .npy, .npz, .safetensors or .jsonl, one row per image in input order [default: JSON lines on stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write: the pooled vector [F], all tokens [T, D], or only the patches [rows, columns, D]
    #[arg(long, default_value = "pooled", value_name = "WHAT")]
    of: Of,
    /// With --of tokens or patches: take hidden state I (the input of block I) instead of the last hidden state
    #[arg(long, value_name = "I")]
    layer: Option<usize>,
    /// Scale every vector to length 1
    #[arg(long)]
    normalize: bool,
    /// How many images are run together: a number or auto
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    batch_size: BatchSize,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    folders: FolderOptions,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    Pooled,
    Tokens,
    Patches,
}

impl Args {
    /// Shape of what is written for one image.
    fn shape(&self, cfg: &VitConfig) -> Vec<usize> {
        match self.of {
            Of::Pooled => vec![cfg.pooled_dim()],
            Of::Tokens => vec![cfg.tokens(), cfg.embed_dim],
            Of::Patches => vec![cfg.grid().0, cfg.grid().1, cfg.embed_dim],
        }
    }

    fn compute(&self, session: &Session, pixels: &[Pixels]) -> vit_gpu::Result<Vec<vit_gpu::Result<Vec<f32>>>> {
        let cfg = &session.checkpoint().config;
        let mut rows = match self.of {
            Of::Pooled => session.embed_pixels(pixels)?,
            Of::Tokens | Of::Patches => session.tokens_of_pixels(pixels, self.layer)?,
        };
        if self.of == Of::Patches {
            rows.iter_mut().flatten().for_each(|row| drop(row.drain(..cfg.prefix_tokens() * cfg.embed_dim)));
        }
        if self.normalize {
            let width = self.shape(cfg).last().copied().unwrap_or(1);
            rows.iter_mut().flatten().flat_map(|row| row.chunks_exact_mut(width)).for_each(normalize);
        }
        Ok(rows)
    }
}

pub fn run(args: &Args) -> Ended {
    let format = match &args.output {
        None => Format::Jsonl,
        Some(path) => format_of(path)?,
    };
    if args.layer.is_some() && args.of == Of::Pooled {
        return Err(Failure::Usage("--layer needs --of tokens or --of patches".into()));
    }
    let inputs = find(&args.images, &args.folders, &args.run.verbosity)?;
    let pending = args.output.as_deref().map(Pending::create).transpose()?;
    let session = args.run.session()?;
    let how = (args.image.orient(), args.batch_size, args.run.verbosity.quiet);
    let compute = |pixels: &[_]| args.compute(&session, pixels);
    let shape = args.shape(&session.checkpoint().config);

    if format == Format::Jsonl {
        // Written as results arrive, so that a reader can start at once and nothing is lost if the run ends early.
        let mut out: Box<dyn Write> = match &pending {
            None => Box::new(io::stdout().lock()),
            Some(pending) => Box::new(BufWriter::new(create(pending.part())?)),
        };
        let outcome = run_batches(&session, &inputs, how, compute, |input, result| {
            let result = result.map(|embedding| nested(&embedding, &shape));
            Ok(writeln!(out, "{}", record(&session, input, "embedding", result))?)
        });
        out.flush()?;
        let outcome = outcome?;
        pending.map_or(Ok(()), Pending::finish)?;
        args.run.verbosity.tuning(&session);
        return Ok(outcome);
    }

    let mut rows: Vec<Row> = Vec::with_capacity(inputs.len());
    let outcome = run_batches(&session, &inputs, how, compute, |input, result| {
        rows.push((input.name(), result.map_err(|error| error.to_string())));
        Ok(())
    })?;
    if let (Some(path), Some(pending)) = (&args.output, pending) {
        write_rows(pending.part(), format, &rows, &shape)?;
        pending.finish()?;
        args.run.verbosity.say(&format!("{}: {} rows of {shape:?}", path.display(), rows.len()));
    }
    args.run.verbosity.tuning(&session);
    Ok(outcome)
}

/// Values as JSON arrays within arrays.
fn nested(values: &[f32], shape: &[usize]) -> serde_json::Value {
    match shape {
        [] | [_] => json!(values),
        [_, inner @ ..] => {
            values.chunks_exact(inner.iter().product::<usize>().max(1)).map(|values| nested(values, inner)).collect()
        }
    }
}
