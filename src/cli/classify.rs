//! `vit-gpu classify`: prints the class names and scores of images.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::json;
use vit_gpu::insight::Head;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Prediction, Session, ZeroShot};

use super::batches::Batches;
use super::head::{HeadOptions, features};
use super::inputs::Input;
use super::labels::{LabelOptions, Labels};
use super::options::{ImageOptions, OutputOptions, PhotoOptions, RunOptions, log_tuning};
use super::outputs::{Convert, Encode, Format, about, parquet_of_classes, record};
use super::sort::SortOptions;
use super::{Ended, Failure};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    photos: PhotoOptions,
    /// How many classes to report [default: 5, or with --threshold all]
    #[arg(long, short = 'k', value_name = "K", value_parser = at_least_one)]
    top_k: Option<usize>,
    /// Report only classes with this score or more
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Output format: text, one JSON array, one JSON object per line, or CSV [default: what --output ends in, else text]
    #[arg(long, short = 'f', value_name = "text|json|jsonl|csv", value_parser = format)]
    format: Option<Format>,
    #[command(flatten)]
    labels: LabelOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    sort: SortOptions,
    #[command(flatten)]
    head: HeadOptions,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// What `--output` may end in.
const FILES: [Format; 5] = [Format::Text, Format::Json, Format::Jsonl, Format::Csv, Format::Parquet];

pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&k| k > 0).ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "jsonl" => Ok(Format::Jsonl),
        "csv" => Ok(Format::Csv),
        "parquet" => Err("a Parquet file can't be printed: use --output FILE.parquet".to_owned()),
        _ => Err("expected text, json, jsonl or csv".to_owned()),
    }
}

impl Args {
    fn format(&self) -> Result<Format, Failure> {
        match (self.format, &self.output.output) {
            (Some(format), _) => Ok(format),
            (None, Some(path)) => Format::of(path, &FILES),
            (None, None) => Ok(Format::Text),
        }
    }

    /// What rows depend on.
    fn options(&self, format: Format, top_k: usize) -> BTreeMap<String, String> {
        let mut options = BTreeMap::from([
            ("--format".to_owned(), format!("{format:?}").to_lowercase()),
            ("--top-k".to_owned(), top_k.to_string()),
        ]);
        options.extend(self.threshold.map(|threshold| ("--threshold".to_owned(), threshold.to_string())));
        options.extend(self.image.options());
        options
    }
}

/// What names the classes of an image: the model's own head, another head, or labels in words.
pub struct Namer<'a> {
    session: &'a Session,
    zero_shot: Option<ZeroShot>,
    head: Option<Head>,
    top_k: usize,
    threshold: Option<f32>,
}

impl<'a> Namer<'a> {
    /// Embeds the labels, or opens the head. Of `top_k` classes, or 5, those with the threshold or more are named.
    pub fn open(
        session: &'a Session,
        labels: Option<&Labels>,
        head: &HeadOptions,
        (top_k, threshold): (Option<usize>, Option<f32>),
    ) -> Result<Namer<'a>, Failure> {
        let zero_shot = labels.map(|labels| labels.embed(session)).transpose()?;
        let head = head.open(session)?;
        let classes = match (&zero_shot, &head) {
            (Some(zero_shot), _) => zero_shot.num_labels(),
            (None, Some(head)) => head.labels().len(),
            (None, None) => session.checkpoint().config.num_classes,
        };
        let top_k = top_k.unwrap_or(if threshold.is_some() { classes.max(1) } else { 5 });
        Ok(Namer { session, zero_shot, head, top_k, threshold })
    }

    /// The classes of each image, best first.
    pub fn classes(&self, pixels: &[Pixels]) -> vit_gpu::Result<Vec<vit_gpu::Result<Vec<Prediction>>>> {
        let mut all = match (&self.zero_shot, &self.head) {
            (Some(zero_shot), _) => zero_shot.classify_pixels(pixels, self.top_k)?,
            (None, Some(head)) => {
                let features = features(self.session, head, pixels)?.into_iter();
                features.map(|features| head.predictions(&features?, self.top_k)).collect()
            }
            (None, None) => self.session.classify_pixels(pixels, self.top_k)?,
        };
        if let Some(threshold) = self.threshold {
            all.iter_mut().flatten().for_each(|classes| classes.retain(|class| class.score >= threshold));
        }
        Ok(all)
    }

    /// How the classes are written.
    pub fn rows(&self, format: Format) -> Rows<'a> {
        let of_model = self.session.checkpoint().labels.scores().are_probabilities();
        let probabilities = self.zero_shot.is_some() || self.head.is_some() || of_model;
        Rows { format, session: self.session, threshold: self.threshold, probabilities }
    }
}

pub fn run(args: &Args) -> Ended {
    let format = args.format()?;
    let labels = args.labels.read(&args.head)?;
    let inputs = args.photos.find(args.output.resume)?;
    let sorter = args.sort.sorter(args.output.resume)?;
    let output = args.output.open()?;
    let session = args.run.session()?;
    let namer = Namer::open(&session, labels.as_ref(), &args.head, (args.top_k, args.threshold))?;
    let batches = Batches {
        session: &session,
        inputs: &inputs,
        reading: args.image.reading(),
        batch_size: args.photos.batch_size,
    };
    let sort = |input: &Input, classes: &Vec<Prediction>| {
        if let Some(sorter) = &sorter {
            sorter.sort(input, classes.first());
        }
    };
    let mut options = args.options(format, namer.top_k);
    // Only what is written to a file can be resumed.
    if let Some(labels) = labels.filter(|_| args.output.output.is_some()) {
        options.extend(labels.options(&session)?);
    }
    options.extend(args.head.digest()?);
    let ended = batches.write(output, &namer.rows(format), options, |pixels| namer.classes(pixels), sort)?;
    args.output.say(ended, inputs.len());
    log_tuning(&session);
    Ok(ended)
}

/// Predictions as rows of any format.
pub struct Rows<'a> {
    format: Format,
    session: &'a Session,
    threshold: Option<f32>,
    /// Whether scores lie between 0 and 1.
    probabilities: bool,
}

impl Encode<Vec<Prediction>> for Rows<'_> {
    fn head(&self) -> Vec<u8> {
        match self.format {
            Format::Json => b"[".to_vec(),
            Format::Csv => b"image,rank,index,label,score,error\n".to_vec(),
            _ => Vec::new(),
        }
    }

    fn row(
        &self,
        number: usize,
        input: &Input,
        result: &vit_gpu::Result<Vec<Prediction>>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        match self.format {
            Format::Text => self.text(input, result, out),
            Format::Csv => csv(input, result, out),
            format => {
                let predictions = result.as_ref().map(|predictions| json!(predictions));
                let object = record(self.session, input, "predictions", predictions);
                match (format, number) {
                    (Format::Json, 0) => write!(out, "\n{object}"),
                    (Format::Json, _) => write!(out, ",\n{object}"),
                    _ => writeln!(out, "{object}"),
                }
            }
        }
    }

    fn tail(&self) -> Vec<u8> {
        if self.format == Format::Json { b"\n]\n".to_vec() } else { Vec::new() }
    }

    fn convert(&self) -> Option<Box<Convert<'_>>> {
        match self.format {
            Format::Parquet => Some(Box::new(|rows, out| parquet_of_classes(rows, out, &about(self.session)))),
            _ => None,
        }
    }
}

impl Rows<'_> {
    /// Images without a result are not printed: their error is already on stderr.
    fn text(&self, input: &Input, result: &vit_gpu::Result<Vec<Prediction>>, out: &mut Vec<u8>) -> io::Result<()> {
        let Ok(predictions) = result else { return Ok(()) };
        writeln!(out, "{}", input.name())?;
        for Prediction { index, label, score } in predictions {
            let class = format!("class {index}");
            let label = label.as_deref().unwrap_or(&class);
            if self.probabilities {
                writeln!(out, "  {:5.1} %  {label}", 100.0 * score)?;
            } else {
                writeln!(out, "  {score:10.4}  {label}")?;
            }
        }
        match self.threshold.filter(|_| predictions.is_empty()) {
            Some(threshold) => writeln!(out, "  no class has a score of {threshold} or more"),
            None => Ok(()),
        }
    }
}

/// A row for each class. An image without any has one row, with its error if it has one.
fn csv(input: &Input, result: &vit_gpu::Result<Vec<Prediction>>, out: &mut Vec<u8>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut row = |rest: [&str; 5]| {
        writer.write_field(input.name_bytes())?;
        writer.write_record(rest)
    };
    match result {
        Ok(predictions) => {
            for (rank, Prediction { index, label, score }) in predictions.iter().enumerate() {
                let (rank, index, score) = ((rank + 1).to_string(), index.to_string(), score.to_string());
                row([&rank, &index, label.as_deref().unwrap_or_default(), &score, ""])?;
            }
            if predictions.is_empty() {
                row([""; 5])?;
            }
        }
        Err(error) => row(["", "", "", "", &error.to_string()])?,
    }
    writer.flush()
}
