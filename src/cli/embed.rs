//! `vit-gpu embed`: one pooled vector an image or text, or an image's tokens or patches, as arrays, tables or JSON lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

use serde_json::json;
use vit_gpu::internals::model::VitConfig;
use vit_gpu::internals::normalize;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Session, TextEmbedder};

use super::batches::Batches;
use super::inputs::Input;
use super::options::{ImageOptions, OutputOptions, PhotoOptions, RunOptions, log_tuning};
use super::outputs::{
    Convert, Encode, Format, Identity, about, npy_head, npz, parquet_of_embeddings, record, safetensors_head,
};
use super::{Ended, Failure, Outcome};

#[derive(clap::Args)]
#[command(mut_arg("images", |images| images.required_unless_present_any(["texts"])))]
pub struct Args {
    #[command(flatten)]
    photos: PhotoOptions,
    /// Embed this text in place of images, with a model of images and texts (CLIP, SigLIP); may be given several times
    #[arg(long = "text", value_name = "TEXT", conflicts_with_all = ["images", "from_file", "of", "layer"])]
    texts: Vec<String>,
    #[command(flatten)]
    output: OutputOptions,
    /// What to write: the pooled vector [F], all tokens [T, D], or only the patches [rows, columns, D]
    #[arg(long, default_value = "pooled", value_name = "WHAT")]
    of: Of,
    /// With --of tokens or patches: take hidden state I (the input of block I) instead of the last hidden state
    #[arg(long, value_name = "I")]
    layer: Option<usize>,
    /// Scale every vector to length 1
    #[arg(long)]
    normalize: bool,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    Pooled,
    Tokens,
    Patches,
}

/// What `--output` may end in.
const FILES: [Format; 6] = [Format::Npy, Format::Npz, Format::Safetensors, Format::Parquet, Format::Jsonl, Format::Csv];

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

    fn format(&self) -> Result<Format, Failure> {
        let Some(path) = &self.output.output else { return Ok(Format::Jsonl) };
        let format = Format::of(path, &FILES)?;
        if format == Format::Csv && self.of != Of::Pooled {
            return Err(Failure::Usage("a CSV file has one vector for each image: use --of pooled".into()));
        }
        Ok(format)
    }

    /// What rows depend on.
    fn options(&self, format: Format) -> BTreeMap<String, String> {
        let given = |name: &str, value: String| (name.to_owned(), value);
        let mut options = BTreeMap::from([
            given("--output's format", format!("{format:?}").to_lowercase()),
            given("--of", format!("{:?}", self.of).to_lowercase()),
        ]);
        options.extend(self.layer.map(|layer| given("--layer", layer.to_string())));
        options.extend(self.normalize.then(|| given("--normalize", "given".to_owned())));
        options.extend(self.image.options());
        options
    }
}

pub fn run(args: &Args) -> Ended {
    let format = args.format()?;
    if args.layer.is_some() && args.of == Of::Pooled {
        return Err(Failure::Usage("--layer needs --of tokens or --of patches".into()));
    }
    if !args.texts.is_empty() {
        return texts(args, format);
    }
    let inputs = args.photos.find(args.output.resume)?;
    let output = args.output.open()?;
    let session = args.run.session()?;
    let shape = args.shape(&session.checkpoint().config);
    let batches = Batches {
        session: &session,
        inputs: &inputs,
        reading: args.image.reading(),
        batch_size: args.photos.batch_size,
    };
    let rows = Rows { format, session: &session, kind: "image", inputs: &inputs, shape };
    let compute = |pixels: &[_]| args.compute(&session, pixels);
    let ended = batches.write(output, &rows, args.options(format), compute, |_, _| ())?;
    args.output.say(ended, inputs.len());
    log_tuning(&session);
    Ok(ended)
}

/// Texts in place of images. They are few, so they run together.
fn texts(args: &Args, format: Format) -> Ended {
    let mut output = args.output.open()?;
    let session = args.run.session()?;
    let embedder = TextEmbedder::new(session.clone())?.normalized(args.normalize);
    let inputs: Vec<_> = args.texts.iter().map(|text| Input::Text(text.as_str().into())).collect();
    let rows = Rows { format, session: &session, kind: "text", inputs: &inputs, shape: vec![embedder.dim()] };
    let vectors = embedder.embed_batch(&args.texts)?;
    let mut options = args.options(format);
    if args.output.output.is_some() {
        options.insert("the model's text half".to_owned(), session.checkpoint().text_fingerprint()?);
    }
    let done = output.begin(|| Identity::of(&session, options, &inputs), &rows.head())?;
    let mut bytes = Vec::new();
    for (number, (input, vector)) in inputs.iter().zip(vectors).enumerate().skip(done) {
        rows.row(number, input, &Ok(vector), &mut bytes)?;
    }
    output.write(&bytes, inputs.len())?;
    output.finish(&rows.tail(), rows.convert().as_deref())?;
    if let Some(file) = &args.output.output {
        log::info!("{}: the rows of {} text(s)", file.display(), inputs.len());
    }
    log_tuning(&session);
    Ok(Outcome::Done)
}

/// Vectors as rows of any format.
struct Rows<'a> {
    format: Format,
    session: &'a Session,
    /// `image` or `text`.
    kind: &'static str,
    inputs: &'a [Input],
    /// The shape of one row.
    shape: Vec<usize>,
}

impl Rows<'_> {
    fn whole_shape(&self) -> Vec<usize> {
        std::iter::once(self.inputs.len()).chain(self.shape.iter().copied()).collect()
    }
}

impl Encode<Vec<f32>> for Rows<'_> {
    fn head(&self) -> Vec<u8> {
        match self.format {
            Format::Npy | Format::Npz => npy_head(&self.whole_shape()),
            Format::Safetensors => {
                let names: Vec<_> = self.inputs.iter().map(Input::name).collect();
                safetensors_head(&self.whole_shape(), self.kind, &names)
            }
            Format::Csv => {
                let columns: Vec<_> = (0..self.shape[0]).map(|i| i.to_string()).collect();
                format!("{},error,{}\n", self.kind, columns.join(",")).into_bytes()
            }
            _ => Vec::new(),
        }
    }

    /// In arrays, the row of an image that failed is NaN, so that row i is always image i.
    fn row(&self, _: usize, input: &Input, result: &vit_gpu::Result<Vec<f32>>, out: &mut Vec<u8>) -> io::Result<()> {
        match self.format {
            Format::Npy | Format::Npz | Format::Safetensors => {
                let bytes = |value: &f32| value.to_le_bytes();
                match result {
                    Ok(values) => out.extend(values.iter().flat_map(bytes)),
                    Err(_) => {
                        let len = self.shape.iter().product();
                        out.extend(std::iter::repeat_n(f32::NAN.to_le_bytes(), len).flatten());
                    }
                }
                Ok(())
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_field(input.name_bytes())?;
                let width = self.shape[0];
                match result {
                    Ok(values) => {
                        writer.write_field("")?;
                        writer.write_record(values.iter().map(f32::to_string))?;
                    }
                    Err(error) => {
                        writer.write_field(error.to_string())?;
                        writer.write_record(std::iter::repeat_n("", width))?;
                    }
                }
                writer.flush()
            }
            _ => {
                let embedding = result.as_ref().map(|values| nested(values, &self.shape));
                writeln!(out, "{}", record(self.session, input, "embedding", embedding))
            }
        }
    }

    fn convert(&self) -> Option<Box<Convert<'_>>> {
        match self.format {
            Format::Npz => Some(Box::new(|rows: File, out: File| {
                let names: Vec<_> = self.inputs.iter().map(Input::name_bytes).collect();
                npz(rows, out, self.kind, &names)
            })),
            Format::Parquet => Some(Box::new(|rows: File, out: File| {
                let shape = json!(self.shape).to_string();
                let [model, device, precision] = about(self.session);
                parquet_of_embeddings(self.kind, rows, out, &[model, device, precision, ("shape", &shape)])
            })),
            _ => None,
        }
    }
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
