//! `vit-gpu probe`: trains a head for the user's own classes on features of a frozen model.

mod cache;
mod gather;

use std::path::PathBuf;

use serde_json::{Value, json};
use vit_gpu::insight::metrics::Judged;
use vit_gpu::insight::{Features, Head, HeadKind, Neighbours, Training, folds, split, train_linear};

use super::eval::print;
use super::inputs::Input;
use super::labelled::{Classes, Labelled, LabelledOptions, NameOptions, in_folders};
use super::options::{Format, ImageOptions, RunOptions, log_tuning};
use super::outputs::about;
use super::report::{About, Report, write_page};
use super::{Ended, Failure, Outcome};
use gather::{Gathered, gather};

/// Train a classifier for your own classes on the features of a model, which stays as it is
///
/// The photos are in a folder for each class, or in a table of paths and labels. A part of them is held out, and the figures that
/// are printed are those of this part. `vit-gpu classify --head FILE` uses the result, and `vit-gpu eval --head FILE` measures it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    labelled: LabelledOptions,
    /// The head to write, a .safetensors file
    #[arg(long, short, value_name = "HEAD.safetensors")]
    output: PathBuf,
    /// What of the model the classifier sees: the class token, the mean of the patches, or both [default: both, or mean without
    /// a class token]
    #[arg(long, value_name = "cls|mean|both", value_parser = kind)]
    features: Option<Features>,
    /// Measure on the photos in this folder, which has a folder for each class, instead of holding some out
    #[arg(long, value_name = "DIR", conflicts_with = "test_share")]
    test: Option<PathBuf>,
    /// The share of each class's photos that is held out, above 0 and below 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    test_share: f64,
    /// Which photos are held out, and which folds they are in: another number gives others
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How many parts cross-validation has, 2 or more
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "knn")]
    folds: usize,
    /// Instead of a linear classifier, let the K most similar photos vote
    #[arg(long, value_name = "K")]
    knn: Option<usize>,
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

fn kind(text: &str) -> Result<Features, String> {
    Features::named(text).ok_or_else(|| "expected cls, mean or both".to_owned())
}

/// Photos with features and classes.
#[derive(Default)]
struct Part<'a> {
    images: Vec<&'a Input>,
    features: Vec<Vec<f32>>,
    classes: Vec<usize>,
}

impl<'a> Part<'a> {
    fn push(&mut self, image: &'a Input, features: Vec<f32>, class: usize) {
        self.images.push(image);
        self.features.push(features);
        self.classes.push(class);
    }

    fn names(&self, which: impl Fn(usize) -> bool) -> Vec<String> {
        (0..self.images.len()).filter(|i| which(*i)).map(|i| self.images[i].name()).collect()
    }
}

pub fn run(args: &Args) -> Ended {
    if args.output.extension().is_none_or(|ending| ending != "safetensors") {
        return Err(Failure::Usage(format!("{}: --output must end in .safetensors", args.output.display())));
    }
    let labelled = args.labelled.find()?;
    let names = labelled.names.clone();
    if let [only] = names.as_slice() {
        let source = labelled.source.display();
        return Err(Failure::Usage(format!(
            "{source}: `{only}` is the only class, and a classifier needs two or more"
        )));
    }
    let classes = Classes::new(names.iter().cloned().map(Some).collect());
    let test = args.test.as_deref().map(|dir| in_folders(dir, &args.labelled.folders)).transpose()?;
    // The classes of the folder to measure on, by the names of those to train on.
    let test_classes = test.as_ref().map(|test| classes.of(&test.names, &NameOptions::default(), false)).transpose()?;

    let session = args.run.session()?;
    let features = args.features.unwrap_or(Features::all(session.model()));
    let all: Vec<Input> = labelled.inputs.iter().chain(test.iter().flat_map(|test| &test.inputs)).cloned().collect();
    let Some(Gathered { rows, failed }) = gather(&session, &all, features, &args.image, args.labelled.batch_size)?
    else {
        return Ok(Outcome::Interrupted);
    };
    let ended = if failed.is_empty() { Outcome::Done } else { Outcome::InputFailed };

    let (mut given, mut tested) = (Part::default(), Part::default());
    let rows = all.iter().zip(rows);
    for (i, (image, row)) in rows.enumerate().filter_map(|(i, (image, row))| Some((i, (image, row?)))) {
        match (i.checked_sub(labelled.labels.len()), &test, &test_classes) {
            (Some(i), Some(test), Some(of_names)) => tested.push(image, row, of_names[test.labels[i]][0]),
            _ => given.push(image, row, labelled.labels[i]),
        }
    }
    let (train, held_out) = match &test {
        Some(test) if tested.images.is_empty() => {
            return Err(Failure::Usage(format!("{}: no image has a result", test.source.display())));
        }
        Some(_) => (given, tested),
        None => args.divided(given, &labelled)?,
    };
    let (kind, trained) = args.train(&train, &labelled)?;
    let head = Head::new(&session, features, names, kind)?;
    head.save(&args.output)?;

    let mut facts = vec![("data", labelled.source.display().to_string())];
    facts.extend(about(&session).map(|(name, value)| (name, value.to_owned())));
    facts.push(("features", format!("{} ({} values)", features.name(), features.dim(session.model()))));
    facts.push(("classifier", trained.text));
    facts.push(("trained on", format!("{} images", train.images.len())));
    let from = args.test.as_ref().map_or("that were held out".to_owned(), |dir| format!("in {}", dir.display()));
    facts.push(("measured on", format!("{} images {from}", held_out.images.len())));
    let judged: vit_gpu::Result<Vec<Judged>> = held_out
        .features
        .iter()
        .zip(&held_out.classes)
        .map(|(row, class)| Judged::of(&head.logits(row)?, *class))
        .collect();
    let about = About { facts, failed, seconds: None };
    let held_out_names = held_out.names(|_| true);
    let report = Report::new(about, &classes, held_out.images, judged?, args.image.reading());
    let mut json = report.json();
    json["head"] = json!(args.output);
    json["held_out"] = json!(held_out_names);
    json["training"] = trained.json;
    print(args.format, &report.text(), &json)?;
    log::info!("{}: the head", args.output.display());
    if let Some(path) = &args.report {
        write_page(path, &report)?;
        log::info!("{}: the report", path.display());
    }
    log_tuning(&session);
    Ok(ended)
}

/// What there is to say about training.
struct Told {
    text: String,
    json: Value,
}

impl Args {
    /// The photos to train on, and those that are held out.
    fn divided<'a>(&self, given: Part<'a>, labelled: &Labelled) -> Result<(Part<'a>, Part<'a>), Failure> {
        self.enough(&given.classes, labelled, 2, "one of them is held out")?;
        let (_, test) = split(&given.classes, self.test_share, self.seed)?;
        let (mut train, mut held_out) = (Part::default(), Part::default());
        let all = given.images.into_iter().zip(given.features).zip(given.classes);
        for (i, ((image, row), class)) in all.enumerate() {
            let part = if test.binary_search(&i).is_ok() { &mut held_out } else { &mut train };
            part.push(image, row, class);
        }
        Ok((train, held_out))
    }

    /// Refuses a class with fewer photos.
    fn enough(&self, classes: &[usize], labelled: &Labelled, least: usize, why: &str) -> Result<(), Failure> {
        let mut counts = vec![0usize; labelled.names.len()];
        classes.iter().for_each(|class| counts[*class] += 1);
        match counts.iter().position(|count| *count < least) {
            Some(class) => Err(Failure::Usage(format!(
                "{}: class `{}` has {} to train on that can be read, and {why}",
                labelled.source.display(),
                labelled.names[class],
                match counts[class] {
                    1 => "1 photo".to_owned(),
                    count => format!("{count} photos"),
                }
            ))),
            None => Ok(()),
        }
    }

    fn train(&self, train: &Part<'_>, labelled: &Labelled) -> Result<(HeadKind, Told), Failure> {
        let count = labelled.names.len();
        if let Some(k) = self.knn {
            self.enough(&train.classes, labelled, 1, "at least 1 is needed")?;
            let neighbours = Neighbours::new(&train.features, &train.classes, count, k)?;
            let text = format!("the votes of the {k} most similar images");
            return Ok((HeadKind::Neighbours(neighbours), Told { text, json: json!({"k": k}) }));
        }
        let why = format!("--folds {} needs {0} of each class", self.folds);
        self.enough(&train.classes, labelled, self.folds, &why)?;
        let dealt = folds(&train.classes, self.folds, self.seed)?;
        let each: Vec<_> = (0..self.folds).map(|fold| train.names(|i| dealt[i] == fold)).collect();
        let training = Training { grid: Training::usual_grid(), folds: dealt };
        let trained = train_linear(&train.features, &train.classes, count, &training)?;
        let best = trained.accuracies.iter().map(|(_, accuracy)| *accuracy).fold(0.0, f64::max);
        let text = format!(
            "linear, C = {:.3e}, chosen of {} by {} folds with {:.2} % right",
            trained.c,
            training.grid.len(),
            self.folds,
            100.0 * best
        );
        let grid: Vec<_> = trained.accuracies.iter().map(|(c, right)| json!({"c": c, "accuracy": right})).collect();
        let json = json!({"c": trained.c, "grid": grid, "folds": each, "seed": self.seed});
        Ok((HeadKind::Linear(trained.classifier), Told { text, json }))
    }
}
