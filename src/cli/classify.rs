//! `vit-gpu classify`: prints the class names and scores of images.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::json;
use vit_gpu::{Prediction, Session};

use super::folders::{FolderOptions, find};
use super::inputs::{Input, run_batches};
use super::options::{BatchSize, ImageOptions, RunOptions};
use super::outputs::record;
use super::{Ended, Failure};

#[derive(clap::Args)]
pub struct Args {
    /// Images, folders of images, or - for an image on standard input
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    images: Vec<OsString>,
    /// How many classes to report
    #[arg(long, short = 'k', default_value_t = 5, value_name = "K", value_parser = at_least_one)]
    top_k: usize,
    /// Output format: text, one JSON array, one JSON object per line, or CSV
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Jsonl,
    Csv,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&k| k > 0).ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

pub fn run(args: &Args) -> Ended {
    let inputs = find(&args.images, &args.folders, &args.run.verbosity)?;
    let session = args.run.session()?;
    let mut printer = Printer { format: args.format, session: &session, out: io::stdout().lock(), printed: 0 };
    printer.begin()?;
    let how = (args.image.orient(), args.batch_size, args.run.verbosity.quiet);
    let outcome = run_batches(
        &session,
        &inputs,
        how,
        |pixels| session.classify_pixels(pixels, args.top_k),
        |input, result| printer.print(input, result),
    );
    // What was printed is whole, whatever ended the run.
    printer.end()?;
    let outcome = outcome?;
    args.run.verbosity.tuning(&session);
    Ok(outcome)
}

struct Printer<'a> {
    format: Format,
    session: &'a Session,
    out: io::StdoutLock<'a>,
    printed: usize,
}

impl Printer<'_> {
    fn begin(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json => write!(self.out, "["),
            Format::Csv => writeln!(self.out, "image,rank,index,label,score,error"),
            Format::Text | Format::Jsonl => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json => writeln!(self.out, "\n]"),
            _ => Ok(()),
        }?;
        self.out.flush()
    }

    fn print(&mut self, input: &Input, result: vit_gpu::Result<Vec<Prediction>>) -> Result<(), Failure> {
        let image = input.name();
        match self.format {
            Format::Text => self.text(&image, result)?,
            Format::Csv => self.csv(&image, result)?,
            Format::Json | Format::Jsonl => {
                let object = record(self.session, input, "predictions", result.map(|predictions| json!(predictions)));
                match (self.format, self.printed) {
                    (Format::Jsonl, _) => writeln!(self.out, "{object}")?,
                    (_, 0) => write!(self.out, "\n{object}")?,
                    _ => write!(self.out, ",\n{object}")?,
                }
            }
        }
        self.printed += 1;
        Ok(())
    }

    /// Prints one image as text. Images without a result are not printed: their error is already on stderr.
    fn text(&mut self, image: &str, result: vit_gpu::Result<Vec<Prediction>>) -> io::Result<()> {
        let Ok(predictions) = result else { return Ok(()) };
        writeln!(self.out, "{image}")?;
        for Prediction { index, label, score } in predictions {
            let label = label.unwrap_or_else(|| format!("class {index}"));
            if self.session.checkpoint().labels.scores().are_probabilities() {
                writeln!(self.out, "  {:5.1} %  {label}", 100.0 * score)?;
            } else {
                writeln!(self.out, "  {score:10.4}  {label}")?;
            }
        }
        Ok(())
    }

    fn csv(&mut self, image: &str, result: vit_gpu::Result<Vec<Prediction>>) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(&mut self.out);
        match result {
            Ok(predictions) => {
                for (rank, Prediction { index, label, score }) in predictions.into_iter().enumerate() {
                    let (rank, index, score) = ((rank + 1).to_string(), index.to_string(), score.to_string());
                    writer.write_record([image, &rank, &index, &label.unwrap_or_default(), &score, ""])?;
                }
            }
            Err(error) => writer.write_record([image, "", "", "", "", &error.to_string()])?,
        }
        writer.flush()
    }
}
