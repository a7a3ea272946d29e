//! `vit-gpu bench`: warm time per batch size on each device, after checking that devices agree.

mod per_op;

use std::io::{self, Write};
use std::time::Instant;

use serde_json::json;
use vit_gpu::Error;
use vit_gpu::gpu::DeviceRequest;
use vit_gpu::graph::Precision;
use vit_gpu::model::random::HashedValues;
use vit_gpu::preprocess::Pixels;
use vit_gpu::session::Session;

use self::per_op::{Kind, by_kind};
use super::options::{Chatter, Format, ModelOptions, Tuning, open};
use super::{Ended, Outcome};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelOptions,
    /// Devices to measure, separated by commas
    #[arg(long, short = 'd', default_value = "auto", value_delimiter = ',')]
    device: Vec<DeviceRequest>,
    /// Batch sizes to measure, separated by commas
    #[arg(long, default_value = "1,8", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Vec<u32>,
    /// Timed runs of each; the median is reported
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What weights and activations are stored in: f32 or f16; the processor always computes in f32
    #[arg(long, default_value = "f32", value_name = "f32|f16")]
    precision: Precision,
    /// Also show what each kind of operation takes, on devices with timestamps
    #[arg(long)]
    per_op: bool,
    /// text or JSON
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    tuning: Tuning,
    #[command(flatten)]
    chatter: Chatter,
}

struct Measured {
    device: String,
    precision: &'static str,
    batch: usize,
    median_ms: f64,
    images_per_s: f64,
    gflop_per_s: f64,
    per_op: Option<Vec<Kind>>,
}

pub fn run(args: &Args) -> Ended {
    let mut all = Vec::new();
    let mut reference: Option<(String, Vec<f32>)> = None;
    let mut model = String::new();
    let mut agreed = Outcome::Done;
    for device in &args.device {
        let precision = if *device == DeviceRequest::Cpu { Precision::F32 } else { args.precision };
        let session = open(&args.model, device, precision, &args.tuning)?;
        model.clone_from(&session.checkpoint().name);
        let name = session.device().to_owned();
        args.chatter.say(&format!("measuring {model} on {name}"));
        let logits = session.forward(&planes(&session), false)?;
        let logits =
            logits.get("logits").or(logits.get("pooled")).map(|output| output.values.clone()).unwrap_or_default();
        match &reference {
            None => reference = Some((name, logits)),
            Some((first, want)) => {
                let (worst, allowed) = match args.precision {
                    Precision::F32 => (largest_difference(&logits, want), 2e-4),
                    Precision::F16 => (relative_distance(&logits, want), 1e-2),
                };
                // A NaN compares false with everything: it must count as disagreement.
                if worst.is_nan() || worst > allowed {
                    eprintln!("error: {name} and {first} disagree: relative difference {worst:e}");
                    agreed = Outcome::InputFailed;
                }
            }
        }
        for &batch in &args.batch_size {
            let mut measured = measure(&session, batch as usize, args.runs as usize)?;
            if args.per_op {
                measured.per_op = session.profile(batch as usize)?.map(|times| by_kind(&times));
            }
            all.push(measured);
        }
        args.chatter.tuning(&session);
    }
    let mut out = io::stdout().lock();
    match args.format {
        Format::Json => {
            let results: Vec<_> = all
                .iter()
                .map(|m| {
                    json!({
                        "device": m.device,
                        "precision": m.precision,
                        "batch": m.batch,
                        "median_ms": m.median_ms,
                        "images_per_s": m.images_per_s,
                        "gflop_per_s": m.gflop_per_s,
                        "per_op": m.per_op.as_ref().map(|kinds| kinds.iter().map(Kind::json).collect::<Vec<_>>()),
                    })
                })
                .collect();
            let device = all.first().map(|m| m.device.as_str());
            writeln!(out, "{:#}", json!({"model": model, "device": device, "results": results}))?;
        }
        Format::Text => {
            writeln!(
                out,
                "{:<40} {:>9} {:>6} {:>11} {:>10} {:>9}",
                "device", "precision", "batch", "median ms", "images/s", "GFLOP/s"
            )?;
            for m in &all {
                let Measured { device, precision, batch, median_ms, images_per_s, gflop_per_s, .. } = m;
                writeln!(
                    out,
                    "{device:<40} {precision:>9} {batch:>6} {median_ms:>11.2} {images_per_s:>10.2} {gflop_per_s:>9.1}"
                )?;
            }
            for m in &all {
                if let Some(kinds) = &m.per_op {
                    writeln!(out, "\n{} in {}, batch {}", m.device, m.precision, m.batch)?;
                    per_op::print(&mut out, kinds)?;
                }
            }
        }
    }
    Ok(agreed)
}

/// The median time of a warm run from pixels to predictions (or to pooled vectors), uploads and readback included.
fn measure(session: &Session, batch: usize, runs: usize) -> Result<Measured, Error> {
    let pixels = pixels(session, batch);
    let once = || -> Result<f64, Error> {
        let start = Instant::now();
        if session.checkpoint().config.num_classes > 0 {
            pollster::block_on(session.classify_pixels(&pixels, 1))?;
        } else {
            pollster::block_on(session.embed_pixels(&pixels))?;
        }
        Ok(start.elapsed().as_secs_f64())
    };
    once()?; // loads weights, compiles kernels, allocates
    let mut times = (0..runs).map(|_| once()).collect::<Result<Vec<f64>, Error>>()?;
    times.sort_by(f64::total_cmp);
    let median = (times[(runs - 1) / 2] + times[runs / 2]) / 2.0;
    let flop = session.footprint(1)?.1.flop * batch as f64;
    Ok(Measured {
        device: session.device().to_owned(),
        precision: session.precision(),
        batch,
        median_ms: 1e3 * median,
        images_per_s: batch as f64 / median,
        gflop_per_s: flop / median / 1e9,
        per_op: None,
    })
}

/// The largest difference of two vectors, relative to 1 + |b|.
fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    let each = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs() / (1.0 + b.abs())));
    each.fold(0.0, |most, next| if next > most || next.is_nan() { next } else { most })
}

/// |a − b| / |b| of two vectors.
fn relative_distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    (apart / b.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

/// Images of hashed bytes, the same on every machine.
fn pixels(session: &Session, batch: usize) -> Vec<Pixels> {
    let (h, w) = session.checkpoint().config.img_size;
    let values = HashedValues::new("bench pixels", 0);
    let byte = |i: usize| ((values.get(i) + 1.0) * 127.99) as u8;
    (0..batch)
        .map(|b| Pixels { size: (h, w), data: (0..3 * h * w).map(|i| byte(b * 3 * h * w + i)).collect() })
        .collect()
}

fn planes(session: &Session) -> Vec<f32> {
    let cfg = &session.checkpoint().config;
    let values = HashedValues::new("bench planes", 0);
    (0..cfg.in_chans * cfg.img_size.0 * cfg.img_size.1).map(|i| values.get(i)).collect()
}
