//! Measures one session: the start, runs after warm-up, and the device's limits.

use std::time::Instant;

use vit_gpu::internals::executor::{Peak, Startup};
use vit_gpu::internals::model::random::HashedValues;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Precision, Session};

use super::per_op::{Kind, by_kind};
use crate::cli::Failure;
use crate::cli::batches::Batches;
use crate::cli::inputs::{Input, Reading};
use crate::cli::options::BatchSize;

/// One device in one precision.
pub struct Measured {
    pub name: String,
    pub precision: &'static str,
    /// Seconds from the request to an open session, and from there to the first result.
    pub open: f64,
    pub first: f64,
    pub startup: Option<Startup>,
    pub peak: Peak,
    /// Images a second from files on disk to classes.
    pub from_files: Option<f64>,
    pub warm: Vec<Warm>,
}

/// Warm runs at one batch size.
pub struct Warm {
    pub batch: usize,
    /// Seconds of each run, sorted.
    times: Vec<f64>,
    pub flop: f64,
    pub per_op: Option<Vec<Kind>>,
}

impl Warm {
    /// A quantile of the times in seconds: `share` of the runs took less.
    pub fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.times.len() - 1) as f64;
        let (low, part) = (at.floor() as usize, at.fract());
        let high = (low + 1).min(self.times.len() - 1);
        self.times[low] * (1.0 - part) + self.times[high] * part
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn images_per_second(&self) -> f64 {
        self.batch as f64 / self.median()
    }

    pub fn flop_per_second(&self) -> f64 {
        self.flop / self.median()
    }
}

impl Measured {
    /// The share of that limit which a batch size reaches; `None` for i8, whose limit is not measured.
    pub fn share(&self, warm: &Warm) -> Option<f64> {
        (self.precision != Precision::I8.name()).then(|| warm.flop_per_second() / self.peak.flop())
    }
}

/// Times runs after warm-up, from pixels in memory to predictions (or pooled vectors), including upload and readback.
pub fn warm(session: &Session, batch: usize, runs: usize, per_op: bool) -> Result<Warm, Error> {
    let pixels = pixels(session, batch);
    once(session, &pixels)?; // compiles kernels, allocates
    let mut times = (0..runs).map(|_| once(session, &pixels)).collect::<Result<Vec<f64>, Error>>()?;
    times.sort_by(f64::total_cmp);
    let flop = session.footprint(1)?.1.flop * batch as f64;
    let per_op = if per_op { session.profile(batch)?.map(|times| by_kind(&times)) } else { None };
    Ok(Warm { batch, times, flop, per_op })
}

/// Seconds to the first result of a session that has done nothing yet.
pub fn first(session: &Session) -> Result<f64, Error> {
    once(session, &pixels(session, 1))
}

fn once(session: &Session, pixels: &[Pixels]) -> Result<f64, Error> {
    let start = Instant::now();
    let failed = if session.checkpoint().config.num_classes > 0 {
        session.classify_pixels(pixels, 1)?.into_iter().find_map(Result::err)
    } else {
        session.embed_pixels(pixels)?.into_iter().find_map(Result::err)
    };
    match failed {
        Some(error) => Err(error),
        None => Ok(start.elapsed().as_secs_f64()),
    }
}

/// Images per second from files to results, including reading and resizing. A file that can't be read is an error.
pub fn from_files(session: &Session, inputs: &[Input]) -> Result<f64, Failure> {
    let start = Instant::now();
    let batches = Batches { session, inputs, reading: Reading::default(), batch_size: BatchSize::Auto };
    let failed = |batch: Vec<(&Input, Result<_, Error>)>| batch.into_iter().find_map(|(_, result)| result.err());
    let compute = |pixels: &[Pixels]| session.embed_pixels(pixels);
    batches.run(0, compute, |batch| failed(batch).map_or(Ok(()), |error| Err(error.into())))?;
    Ok(inputs.len() as f64 / start.elapsed().as_secs_f64())
}

/// Images of pseudo-random bytes, the same on every machine.
fn pixels(session: &Session, batch: usize) -> Vec<Pixels> {
    let (h, w) = session.checkpoint().config.img_size;
    let values = HashedValues::new("bench pixels", 0);
    let byte = |i: usize| ((values.get(i) + 1.0) * 127.99) as u8;
    (0..batch)
        .map(|b| Pixels { size: (h, w), data: (0..3 * h * w).map(|i| byte(b * 3 * h * w + i)).collect() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_runs() {
        let warm = |times: &[f64]| Warm { batch: 2, times: times.to_vec(), flop: 6.0, per_op: None };
        let five = warm(&[1.0, 2.0, 3.0, 4.0, 9.0]);
        assert_eq!((five.median(), five.quantile(0.1), five.quantile(0.9)), (3.0, 1.4, 7.0));
        assert_eq!((five.images_per_second(), five.flop_per_second()), (2.0 / 3.0, 2.0));
        assert_eq!(warm(&[5.0]).quantile(0.9), 5.0);
        assert_eq!(warm(&[1.0, 2.0]).median(), 1.5);
    }
}
