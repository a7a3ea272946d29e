//! `vit-gpu eval`: how good a model is on labelled photos.

use std::path::PathBuf;
use std::time::Instant;

use vit_gpu::insight::Head;
use vit_gpu::insight::metrics::{Judged, MultiLabel};
use vit_gpu::internals::labels::Scores;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Session, ZeroShot};

use super::batches::Batches;
use super::head::{HeadOptions, features};
use super::labelled::{Classes, LabelledOptions, NameOptions};
use super::labels::LabelOptions;
use super::options::{Format, ImageOptions, RunOptions, log_tuning};
use super::outputs::about;
use super::report::{About, Report, Sections, Several, write_page};
use super::{Ended, Failure, Outcome};

/// Measure a model on labelled photos: accuracy, precision, recall, F1, calibration, confused classes
///
/// The photos are in a folder for each class, or in a table of paths and labels. A label is the name of one of the model's classes, in
/// upper or lower case; of ImageNet's lists of synonyms, any one will do.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    labelled: LabelledOptions,
    #[command(flatten)]
    names: NameOptions,
    #[command(flatten)]
    head: HeadOptions,
    #[command(flatten)]
    labels: LabelOptions,
    /// Also write a page with the confusion matrix, a reliability diagram and the worst mistakes
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// How the figures are printed
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

pub fn run(args: &Args) -> Ended {
    let labels = args.labels.read(&args.head)?;
    let labelled = args.labelled.find()?;
    let session = args.run.session()?;
    let scorer = match (&labels, args.head.open(&session)?) {
        (Some(labels), _) => Scorer::Words(labels.embed(&session)?),
        (None, Some(head)) => Scorer::Head(head),
        (None, None) => Scorer::Own(own_scores(&session)?),
    };
    let several = matches!(scorer, Scorer::Own(Scores::Sigmoid));
    let classes = scorer.classes(&session);
    let of_names = classes.of(&labelled.names, &args.names, several)?;

    let reading = args.image.reading();
    let batches =
        Batches { session: &session, inputs: &labelled.inputs, reading, batch_size: args.labelled.batch_size };
    let (mut images, mut logits, mut truth, mut judged) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut failed = Vec::new();
    let mut labels = labelled.labels.iter().enumerate();
    let start = Instant::now();
    let ended = batches.run(
        0,
        |pixels| scorer.logits(&session, pixels),
        |batch| {
            for ((input, result), (number, label)) in batch.into_iter().zip(labels.by_ref()) {
                match result {
                    Ok(row) if several => {
                        logits.push(row);
                        truth.push(of_names[*label].clone());
                    }
                    Ok(row) => {
                        judged.push(Judged::of(&row, of_names[*label][0])?);
                        images.push(&labelled.inputs[number]);
                    }
                    Err(error) => failed.push((input.name(), error.to_string())),
                }
            }
            Ok(())
        },
    )?;
    let seconds = start.elapsed().as_secs_f64();
    if ended == Outcome::Interrupted {
        return Ok(ended);
    }
    if logits.is_empty() && judged.is_empty() {
        return Err(Failure::Usage(format!("{}: no image has a result", labelled.source.display())));
    }
    let mut facts = vec![("data", labelled.source.display().to_string())];
    facts.extend(about(&session).map(|(name, value)| (name, value.to_owned())));
    facts.extend(args.head.head.iter().map(|file| ("head", file.display().to_string())));
    let about = About { facts, failed, seconds: Some(seconds) };
    if several {
        let (figures, images) = (MultiLabel::of(&logits, &truth)?, logits.len());
        let report = Several { about, classes: &classes, figures, images };
        show(args, report.text(), &report.json(), &report)?;
    } else {
        let report = Report::new(about, &classes, images, judged, reading);
        show(args, report.text(), &report.json(), &report)?;
    }
    log_tuning(&session);
    Ok(ended)
}

fn show(args: &Args, text: String, json: &serde_json::Value, page: &dyn Sections) -> Result<(), Failure> {
    print(args.format, &text, json)?;
    if let Some(path) = &args.report {
        write_page(path, page)?;
        log::info!("{}: the report", path.display());
    }
    Ok(())
}

/// Prints figures: the table, or one line of JSON.
pub fn print(format: Format, text: &str, json: &serde_json::Value) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout();
    match format {
        Format::Text => write!(out, "{text}"),
        Format::Json => writeln!(out, "{json}"),
    }
}

/// How the model's own scores are computed.
fn own_scores(session: &Session) -> Result<Scores, Failure> {
    let model = session.model().name();
    if session.model().num_classes() == 0 {
        return Err(Error::NoHead { model: model.to_owned() }.into());
    }
    match session.checkpoint().labels.scores() {
        Scores::Raw => {
            Err(Failure::Usage(format!("{model} predicts values (a regression), and only classes can be measured")))
        }
        scores => Ok(scores),
    }
}

/// What gives an image's logits.
enum Scorer {
    /// Labels in words. Each image has one of them, so that also SigLIP's scores are the softmax of the logits here.
    Words(ZeroShot),
    Head(Head),
    /// The model's own classes, and how their scores are computed.
    Own(Scores),
}

impl Scorer {
    fn classes(&self, session: &Session) -> Classes {
        let model = session.model();
        Classes::new(match self {
            Scorer::Words(words) => (0..words.num_labels()).map(|i| words.label(i).map(str::to_owned)).collect(),
            Scorer::Head(head) => head.labels().iter().cloned().map(Some).collect(),
            Scorer::Own(_) => (0..model.num_classes()).map(|index| model.label(index).map(str::to_owned)).collect(),
        })
    }

    fn logits(&self, session: &Session, pixels: &[Pixels]) -> vit_gpu::Result<Vec<vit_gpu::Result<Vec<f32>>>> {
        Ok(match self {
            Scorer::Words(words) => {
                let vectors = session.embed_pixels(pixels)?.into_iter();
                vectors.map(|vector| Ok(words.logits(&vector?))).collect()
            }
            Scorer::Head(head) => {
                features(session, head, pixels)?.into_iter().map(|features| head.logits(&features?)).collect()
            }
            Scorer::Own(_) => session.logits_of_pixels(pixels)?,
        })
    }
}
