//! `vit-gpu verify`: compares a device with the processor, layer by layer, in every precision and with every family of kernels it can run.

use std::ffi::OsString;
use std::io::{self, Write};

use serde_json::{Value, json};
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::device::Kernels;
use vit_gpu::internals::model::random::HashedValues;
use vit_gpu::{Device, Error, Outputs, Precision, Session};

use super::distance::{Comparison, Distance};
use super::folders::{FolderOptions, find};
use super::inputs::named;
use super::options::{Format, ImageOptions, ModelOptions, log_tuning};
use super::progress::Progress;
use super::{Ended, Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Images or folders of images [default: two made-up images]
    #[arg(value_name = "IMAGE|DIR")]
    images: Vec<OsString>,
    #[command(flatten)]
    model: ModelOptions,
    /// gpu, an adapter's index or part of its name (see `vit-gpu devices`), or cpu to check i8
    #[arg(long, short = 'd', default_value = "gpu")]
    device: Device,
    /// Only this precision [default: all that the device has]
    #[arg(long, value_name = "f32|f16|i8")]
    precision: Option<Precision>,
    /// Only these kernels [default: all that the device can run]
    #[arg(long, value_name = "NAME")]
    kernels: Option<Kernels>,
    /// Images run at once
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// text or JSON
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    folders: FolderOptions,
}

pub fn run(args: &Args) -> Ended {
    let checkpoint = args.model.open()?;
    let reference = open(&checkpoint, &Device::Cpu, Precision::F32, Kernels::Auto)?;
    let (planes, unread) = inputs(args, &reference)?;
    let image = planes.len() / count(&planes, &reference);
    let batches: Vec<&[f32]> = planes.chunks(image * args.batch_size as usize).collect();

    let mut runs = offered(args, &checkpoint)?;
    let progress = Progress::bar(batches.len() * runs.len(), 0);
    // Only one session at a time is open, because several copies of a large model may not fit into memory.
    let wanted = match batches.iter().map(|batch| reference.forward(batch, true)).collect::<Result<Vec<_>, _>>() {
        Ok(wanted) => wanted,
        // Without a reference there is nothing to compare with, so every run counts as failed.
        Err(error @ Error::NotFinite { .. }) => {
            runs.iter_mut()
                .for_each(|run| run.failure = Some(format!("the reference result of the processor failed: {error}")));
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    for run in &mut runs {
        let session = open(&checkpoint, &args.device, run.precision, run.kernels)?;
        for (i, (batch, want)) in batches.iter().zip(&wanted).enumerate() {
            match session.forward(batch, true) {
                Ok(got) => {
                    run.stable &= i > 0 || again(&session, batch)?.is_some_and(|again| again == got);
                    run.add(&got, want);
                }
                // A result that is not finite, such as an overflow in f16, is reported as a failure of this run; the others go on.
                Err(error @ Error::NotFinite { .. }) => run.failure = Some(error.to_string()),
                Err(error) => return Err(error.into()),
            }
            progress.advance(1);
        }
        log_tuning(&session);
    }
    drop(progress);
    let images = planes.len() / image;
    let mut out = io::stdout().lock();
    match args.format {
        Format::Json => {
            let list: Vec<_> = runs.iter().map(|run| run.json(images)).collect();
            let device = runs.first().map(|run| run.device.as_str());
            let ok = runs.iter().all(Run::ok);
            let all = json!({"model": checkpoint.name, "device": device, "images": images, "ok": ok, "runs": list});
            writeln!(out, "{all:#}")?;
        }
        Format::Text => runs.iter().try_for_each(|run| run.print(&mut out, images))?,
    }
    Ok(if unread == 0 && runs.iter().all(Run::ok) { Outcome::Done } else { Outcome::InputFailed })
}

/// The results of a second run on the same input; `None` if they are not finite.
fn again(session: &Session, batch: &[f32]) -> Result<Option<Outputs>, Error> {
    match session.forward(batch, true) {
        Err(Error::NotFinite { .. }) => Ok(None),
        other => other.map(Some),
    }
}

fn open(checkpoint: &Checkpoint, device: &Device, precision: Precision, kernels: Kernels) -> Result<Session, Error> {
    Session::builder().device(device.clone()).precision(precision).kernels(kernels).build(checkpoint.clone())
}

/// Precisions and kernels to run: those asked for, or those the device has.
fn offered(args: &Args, checkpoint: &Checkpoint) -> Result<Vec<Run>, Failure> {
    let (mut precisions, mut kernels) = match (&args.device, args.precision) {
        (Device::Cpu, _) | (_, Some(Precision::I8)) => (vec![Precision::I8], vec![Kernels::Auto]),
        _ => (
            vec![Precision::F32, Precision::F16],
            vec![Kernels::Auto, Kernels::Portable, Kernels::Software, Kernels::Matrix],
        ),
    };
    if let Some(one) = args.precision {
        precisions = vec![one];
    }
    if let Some(one) = args.kernels {
        kernels = vec![one];
    }
    let mut able = Vec::new();
    let mut refused = None;
    for precision in precisions {
        for &kernels in &kernels {
            match open(checkpoint, &args.device, precision, kernels) {
                Ok(session) if session.device() == "cpu" && (precision, kernels) != (Precision::I8, Kernels::Auto) => {
                    let reason = "the reference is the processor's f32: verify needs a GPU, or `-d cpu` with i8 and without --kernels";
                    return Err(Failure::Usage(reason.into()));
                }
                Ok(session) => able.push(Run::new(session.device(), precision, kernels)),
                Err(error @ (Error::Precision { .. } | Error::Kernels { .. } | Error::Device { .. })) => {
                    refused = Some(error)
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    match (able.is_empty(), refused) {
        (true, Some(error)) => Err(error.into()),
        _ => Ok(able),
    }
}

/// The normalised pixels of every image that can be read, or made-up ones if no image was given; and how many could not be read.
fn inputs(args: &Args, session: &Session) -> Result<(Vec<f32>, usize), Failure> {
    let cfg = &session.checkpoint().config;
    if args.images.is_empty() {
        let values = HashedValues::new("verify", 0);
        let planes = (0..2 * cfg.in_chans * cfg.img_size.0 * cfg.img_size.1).map(|i| values.get(i)).collect();
        return Ok((planes, 0));
    }
    let table = session.checkpoint().transform.table();
    let reading = args.image.reading();
    let mut planes = Vec::new();
    let (mut unread, mut last) = (0, None);
    for input in find(&args.images, None, &args.folders)? {
        let image = input.bytes().and_then(|bytes| reading.decode(&bytes, &input.name()));
        let read = image.and_then(|image| session.preprocess(&image));
        match read.map_err(|error| named(error, &input)) {
            Ok(pixels) => planes.extend(pixels.planes(&table)),
            Err(error) => {
                log::error!("{error}");
                unread += 1;
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if planes.is_empty() => Err(error.into()),
        _ => Ok((planes, unread)),
    }
}

fn count(planes: &[f32], session: &Session) -> usize {
    let cfg = &session.checkpoint().config;
    planes.len() / (cfg.in_chans * cfg.img_size.0 * cfg.img_size.1)
}

/// The comparison of one precision and one family of kernels, over all images.
struct Run {
    device: String,
    precision: Precision,
    kernels: Kernels,
    stable: bool,
    /// Number of images whose most probable class is the same as in the reference; `None` without a head.
    agreed: Option<usize>,
    failure: Option<String>,
    comparison: Comparison,
}

impl Run {
    fn new(device: &str, precision: Precision, kernels: Kernels) -> Run {
        let (device, comparison) = (device.to_owned(), Comparison::default());
        Run { device, precision, kernels, stable: true, agreed: None, failure: None, comparison }
    }

    fn add(&mut self, got: &Outputs, want: &Outputs) {
        self.comparison.add(got, want);
        if let (Some(got), Some(want)) = (got.get("logits"), want.get("logits")) {
            let classes = want.shape[1];
            let rows = got.values.chunks_exact(classes).zip(want.values.chunks_exact(classes));
            *self.agreed.get_or_insert(0) += rows.filter(|(got, want)| best(got) == best(want)).count();
        }
    }

    fn ok(&self) -> bool {
        self.stable && self.failure.is_none() && self.comparison.ok(self.precision)
    }

    fn first_breach(&self) -> Option<&str> {
        self.comparison.first_breach(self.precision)
    }

    fn json(&self, images: usize) -> Value {
        let output = |distance: &Distance| {
            json!({
                "name": distance.name,
                "max_abs": distance.largest,
                "relative_l2": distance.relative(),
                "ok": distance.ok(self.precision),
                "fault": distance.fault,
            })
        };
        let outputs: Vec<_> = self.comparison.outputs.iter().map(output).collect();
        json!({
            "precision": self.precision.name(),
            "kernels": self.kernels.name(),
            "ok": self.ok(),
            "stable": self.stable,
            "top1_agreement": self.agreed.map(|agreed| agreed as f64 / images as f64),
            "first_breach": self.first_breach(),
            "error": self.failure,
            "outputs": outputs,
        })
    }

    fn print(&self, out: &mut impl Write, images: usize) -> io::Result<()> {
        let verdict = if self.ok() { "ok" } else { "FAILED" };
        writeln!(out, "{}, {}, {} kernels: {verdict}", self.device, self.precision.name(), self.kernels.name())?;
        writeln!(out, "  {:<22} {:>12} {:>12}", "output", "max error", "relative L2")?;
        for distance in &self.comparison.outputs {
            let mark = match &distance.fault {
                Some(fault) => format!("  {fault}"),
                None if distance.ok(self.precision) => String::new(),
                None => "  too far".to_owned(),
            };
            let (name, largest, relative) = (&distance.name, distance.largest, distance.relative());
            writeln!(out, "  {name:<22} {largest:>12.2e} {relative:>12.2e}{mark}")?;
        }
        if let Some(agreed) = self.agreed {
            writeln!(out, "  same first class for {agreed} of {images} images")?;
        }
        if let Some(name) = self.first_breach() {
            writeln!(out, "  first output that is too far off: {name}")?;
        }
        if let Some(failure) = &self.failure {
            writeln!(out, "  {failure}")?;
        }
        if !self.stable {
            writeln!(out, "  two runs on the same input differ")?;
        }
        Ok(())
    }
}

fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]))
}
