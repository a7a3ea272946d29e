//! Layer normalisation, parallel over groups. The mean is computed first, then the variance around it, which avoids cancellation.

use rayon::prelude::*;

use super::math::{sum_by, vectorized};
use crate::ops::{Data, LayerNorm, Operands};

pub fn run(op: &LayerNorm, operands: &Operands<'_>, out: &mut [f32]) {
    let [x, weight, bias] = [0, 1, 2].map(|i| operands[i].map_or(&[][..], Data::f32));
    let rows_at_once = (16_384 / op.len).max(1);
    let chunk = rows_at_once * op.len;
    let total = op.groups * op.len;
    out[..total].par_chunks_mut(chunk).zip(x[..total].par_chunks(chunk)).for_each(|(out, x)| {
        vectorized(
            #[inline(always)]
            |_| {
                for (y, x) in out.chunks_exact_mut(op.len).zip(x.chunks_exact(op.len)) {
                    let mean = if op.rms { 0.0 } else { sum_by(x, |v| v) / op.len as f32 };
                    let var = sum_by(x, |v| (v - mean) * (v - mean)) / op.len as f32;
                    let rstd = 1.0 / (var + op.eps).sqrt();
                    for ((y, x), w) in y.iter_mut().zip(x).zip(&weight[..op.len]) {
                        *y = (x - mean) * rstd * w;
                    }
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
            },
        );
    });
}
