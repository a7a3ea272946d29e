//! What the processor can do at most: a large product, which libraries bring close to the limit, and a large copy.

use std::time::Instant;

use rayon::prelude::*;

use super::CpuExecutor;
use crate::error::Result;
use crate::ops::{Data, Linear, Op, Peak};

const SIZE: usize = 1024;
/// Floats of either side of the copy: 64 MB.
const COPIED: usize = 16 << 20;

impl CpuExecutor {
    /// Measures the limits with all of the executor's threads.
    ///
    /// # Errors
    /// None that the operands here can cause.
    pub fn peak(&self) -> Result<Peak> {
        self.threads.install(|| {
            let (x, mut y) = (vec![0.5f32; COPIED], vec![0.0f32; COPIED]);
            let op = Op::Linear(Linear::new(SIZE, SIZE, SIZE));
            let operand = Some(Data::F32(&x[..SIZE * SIZE]));
            let product = best(|| super::run_op(&op, &[operand, operand, None, None, None], &mut y[..SIZE * SIZE]))?;
            let copy = best(|| {
                y.par_chunks_mut(1 << 16).zip(x.par_chunks(1 << 16)).for_each(|(y, x)| y.copy_from_slice(x));
                Ok(())
            })?;
            Ok(Peak { fma: op.cost(4).flop / product, matrix: None, copy: (8 * COPIED) as f64 / copy })
        })
    }
}

/// The least of five times.
fn best(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
