//! `vit-gpu embed`: one pooled vector an image, or its tokens or patches, as .npy, .npz, .safetensors or JSON lines.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder;
use serde_json::json;
use vit_gpu::internals::model::VitConfig;
use vit_gpu::internals::normalize;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Session};

use super::forward::write_tensors;
use super::inputs::{expand, run_batches};
use super::options::{BatchSize, ImageOptions, RunOptions};
use super::{Ended, Failure};

#[derive(clap::Args)]
pub struct Args {
    /// Images, folders of images, or - for an image on standard input
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    images: Vec<String>,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Npz,
    Safetensors,
    Jsonl,
}

/// The name of an image, with its vector or its error.
type Row = (String, Result<Vec<f32>, String>);

pub fn run(args: &Args) -> Ended {
    let format = match &args.output {
        None => Format::Jsonl,
        Some(path) => format_of(path)?,
    };
    if args.layer.is_some() && args.of == Of::Pooled {
        return Err(Failure::Usage("--layer needs --of tokens or --of patches".into()));
    }
    let inputs = expand(&args.images)?;
    let session = args.run.session()?;
    let how = (args.image.orient(), args.batch_size, args.run.verbosity.quiet);
    let compute = |pixels: &[_]| args.compute(&session, pixels);
    let shape = args.shape(&session.checkpoint().config);

    if format == Format::Jsonl {
        // Written as results arrive, so that a reader can start at once and nothing is lost if the run ends early.
        let mut out: Box<dyn Write> = match &args.output {
            None => Box::new(io::stdout().lock()),
            Some(path) => Box::new(BufWriter::new(create(path)?)),
        };
        let outcome = run_batches(&session, &inputs, how, compute, |input, result| {
            let object = match result {
                Ok(embedding) => json!({
                    "image": input.name(),
                    "embedding": nested(&embedding, &shape),
                    "model": session.checkpoint().name,
                    "device": session.device(),
                    "precision": session.precision(),
                }),
                Err(error) => json!({"image": input.name(), "error": error.to_string()}),
            };
            Ok(writeln!(out, "{object}")?)
        })?;
        out.flush()?;
        args.run.verbosity.tuning(&session);
        return Ok(outcome);
    }

    let mut rows: Vec<Row> = Vec::with_capacity(inputs.len());
    let outcome = run_batches(&session, &inputs, how, compute, |input, result| {
        rows.push((input.name(), result.map_err(|error| error.to_string())));
        Ok(())
    })?;
    if let Some(path) = &args.output {
        write(path, format, &rows, &shape)?;
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

fn format_of(path: &Path) -> Result<Format, Failure> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("npy") => Ok(Format::Npy),
        Some("npz") => Ok(Format::Npz),
        Some("safetensors") => Ok(Format::Safetensors),
        Some("jsonl") => Ok(Format::Jsonl),
        _ => {
            Err(Failure::Usage(format!("{}: --output must end in .npy, .npz, .safetensors or .jsonl", path.display())))
        }
    }
}

fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

/// Rows of images that failed are NaN, so that row i is always image i.
fn write(path: &Path, format: Format, rows: &[Row], shape: &[usize]) -> Result<(), Failure> {
    let nan = vec![f32::NAN; shape.iter().product()];
    let shape: Vec<usize> = std::iter::once(rows.len()).chain(shape.iter().copied()).collect();
    let values: Vec<f32> = rows.iter().flat_map(|(_, row)| row.as_ref().unwrap_or(&nan).iter().copied()).collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    match format {
        Format::Npy => npy(BufWriter::new(create(path)?), &shape, &values)?,
        Format::Npz => {
            let mut zip = zip::ZipWriter::new(BufWriter::new(create(path)?));
            let stored = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored)
                .large_file(true);
            let mut member = |name: &str, bytes: Vec<u8>| -> io::Result<()> {
                zip.start_file(name, stored)?;
                zip.write_all(&bytes)
            };
            let mut bytes = io::Cursor::new(Vec::new());
            npy(&mut bytes, &shape, &values)?;
            member("embeddings.npy", bytes.into_inner())?;
            member("images.npy", names_npy(&names)?)?;
            zip.finish().map_err(io::Error::from)?.flush()?;
        }
        Format::Safetensors => {
            let metadata = HashMap::from([("images".to_owned(), json!(names).to_string())]);
            write_tensors(path, &[("embeddings", shape, &values)], Some(metadata))?;
        }
        Format::Jsonl => {}
    }
    Ok(())
}

fn npy(mut out: impl Write + Seek, shape: &[usize], values: &[f32]) -> io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    out.flush()
}

/// Names as a NumPy array of UTF-8 bytes (`S`).
fn names_npy(names: &[&str]) -> io::Result<Vec<u8>> {
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0).max(1);
    let kind: npyz::TypeStr = format!("|S{longest}").parse().map_err(|_| io::Error::other("a name is too long"))?;
    let mut bytes = io::Cursor::new(Vec::new());
    let mut writer = npyz::WriteOptions::new()
        .dtype(npyz::DType::Plain(kind))
        .shape(&[names.len() as u64])
        .writer(&mut bytes)
        .begin_nd()?;
    for name in names {
        writer.push(name.as_bytes())?;
    }
    writer.finish()?;
    Ok(bytes.into_inner())
}
