//! `vit-gpu bench`: checks a device against the processor, then measures its start, its time per batch size and its share of the device's limits.

mod chart;
mod measure;
mod per_op;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use vit_gpu::internals::model::random::HashedValues;
use vit_gpu::{Device, Error, Precision, Session};

use self::measure::Measured;
use super::distance::Distance;
use super::folders::{FolderOptions, find};
use super::options::{Format, ModelOptions, Tuning, Verbosity, open};
use super::{Ended, Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelOptions,
    /// Devices to measure, separated by commas
    #[arg(long, short = 'd', default_value = "auto", value_delimiter = ',')]
    device: Vec<Device>,
    /// Batch sizes to measure, separated by commas
    #[arg(long, default_value = "1,8", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Vec<u32>,
    /// Timed runs for each batch size; the median is reported
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What weights and activations are stored in: f32, f16 (the processor then computes in f32) or i8 (on the processor)
    #[arg(long, default_value = "f32", value_name = "f32|f16|i8")]
    precision: Precision,
    /// Also show the time of each kind of operation, on devices with timestamps
    #[arg(long)]
    per_op: bool,
    /// Also measure images per second for the image files in this folder, including reading and resizing
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    #[command(flatten)]
    folders: FolderOptions,
    /// Draw the times of the operations as an SVG file, for the last batch size on the last device with timestamps
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// text or JSON
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    tuning: Tuning,
    #[command(flatten)]
    verbosity: Verbosity,
}

pub fn run(args: &Args) -> Ended {
    let mut devices: Vec<Measured> = Vec::new();
    let mut agreed = true;
    let mut model = String::new();
    let mut wanted: Option<Vec<f32>> = None;
    for device in &args.device {
        let precision = match (device, args.precision) {
            (Device::Cpu, Precision::F16) => Precision::F32,
            (_, asked) => asked,
        };
        let start = Instant::now();
        let session = open(args.model.open(args.verbosity.quiet)?, device, precision, &args.tuning)?;
        let opened = start.elapsed().as_secs_f64();
        model.clone_from(&session.checkpoint().name);
        args.verbosity.say(&format!("measuring {model} on {}", session.device()));
        let first = measure::first(&session)?;
        // The reference is the processor's result, which is computed only once.
        let want = match &mut wanted {
            Some(want) => want,
            none => none.insert(result(&open(
                args.model.open(args.verbosity.quiet)?,
                &Device::Cpu,
                Precision::F32,
                &args.tuning,
            )?)?),
        };
        agreed &= agrees(&session, &result(&session)?, want, precision);
        devices.push(measured(&session, args, opened, first)?);
        args.verbosity.tuning(&session);
    }
    if let Some(file) = &args.chart {
        let timed = |device: &Measured| device.warm.last().is_some_and(|warm| warm.per_op.is_some());
        match devices.iter().rfind(|device| timed(device)) {
            Some(device) => chart::draw(file, device)?,
            None => args.verbosity.say("no chart: no device here has timestamps"),
        }
    }
    let mut out = io::stdout().lock();
    match args.format {
        Format::Json => writeln!(out, "{:#}", report::json(&model, &devices, agreed))?,
        Format::Text => report::text(&mut out, &devices)?,
    }
    Ok(if agreed { Outcome::Done } else { Outcome::InputFailed })
}

fn measured(session: &Session, args: &Args, open: f64, first: f64) -> Result<Measured, Failure> {
    let startup = session.startup();
    let peak = session.peak()?;
    let per_op = args.per_op || args.chart.is_some();
    let warm = |&batch: &u32| measure::warm(session, batch as usize, args.runs as usize, per_op);
    let warm = args.batch_size.iter().map(warm).collect::<Result<Vec<_>, _>>()?;
    let from_files = match &args.images {
        Some(folder) => {
            let inputs = find(&[folder.as_os_str().to_owned()], &args.folders, &args.verbosity)?;
            Some(measure::from_files(session, &inputs, args.verbosity.quiet)?)
        }
        None => None,
    };
    let (name, precision) = (session.device().to_owned(), session.precision().name());
    Ok(Measured { name, precision, open, first, startup, peak, from_files, warm })
}

/// The logits of a made-up image, or its pooled vector if the model has no head.
fn result(session: &Session) -> Result<Vec<f32>, Error> {
    let cfg = &session.checkpoint().config;
    let values = HashedValues::new("bench planes", 0);
    let planes: Vec<f32> = (0..cfg.in_chans * cfg.img_size.0 * cfg.img_size.1).map(|i| values.get(i)).collect();
    let outputs = session.forward(&planes, false)?;
    Ok(outputs.get("logits").or(outputs.get("pooled")).map(|output| output.values.clone()).unwrap_or_default())
}

/// Whether a device's result matches the processor's. If not, an error is printed on stderr.
fn agrees(session: &Session, got: &[f32], want: &[f32], precision: Precision) -> bool {
    let mut distance = Distance::of("result");
    distance.add(got, want);
    let agrees = distance.ok(precision);
    if !agrees {
        let fault = distance.fault.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
        let (largest, relative) = (distance.largest, distance.relative());
        let (name, precision) = (session.device(), precision.name());
        eprintln!(
            "error: {name} in {precision} and the processor's f32 disagree: off by at most {largest:.1e}, relative L2 {relative:.1e}{fault}"
        );
    }
    agrees
}
