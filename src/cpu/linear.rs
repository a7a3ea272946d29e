//! Linear layers: the product by the `gemm` crate, then the epilogue over the rows.

use rayon::prelude::*;

use super::math::{exp, vectorized};
use crate::ops::{Activation, Data, Linear, Operands};

pub fn run(op: &Linear, operands: &Operands<'_>, out: &mut [f32]) {
    let [x, w, bias, gamma, residual] = [0, 1, 2, 3, 4].map(|i| operands[i].map_or(&[][..], Data::f32));
    if op.m == 0 || op.n == 0 {
        return;
    }
    let out = &mut out[op.y_row * op.ld..(op.y_row + op.m) * op.ld];
    product(op, &x[op.x_row * op.k..], w, &mut out[op.y_col..]);
    if op.act == Activation::None && !op.bias && !op.gamma && !op.residual {
        return;
    }
    let residual = if op.residual { &residual[op.y_row * op.ld..] } else { &[] };
    out.par_chunks_mut(op.ld).enumerate().for_each(|(i, row)| {
        let row = &mut row[op.y_col..op.y_col + op.n];
        let residual = op.residual.then(|| &residual[i * op.ld + op.y_col..][..op.n]);
        vectorized(
            #[inline(always)]
            || {
                if op.bias {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                // A match outside the loop, so that each function's loop vectorises.
                match op.act {
                    Activation::None => {}
                    Activation::Gelu => row.iter_mut().for_each(|y| *y = Activation::Gelu.apply_with(*y, exp)),
                    act => row.iter_mut().for_each(|y| *y = act.apply_with(*y, exp)),
                }
                if op.gamma {
                    row.iter_mut().zip(gamma).for_each(|(y, g)| *y *= g);
                }
                if let Some(residual) = residual {
                    row.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
                }
            },
        );
    });
}

/// `out[i·ld + j] = Σ x[i·k + p]·w[j·k + p]`.
fn product(op: &Linear, x: &[f32], w: &[f32], out: &mut [f32]) {
    let Linear { m, n, k, ld, .. } = *op;
    assert!(x.len() >= m * k && w.len() >= n * k && out.len() >= (m - 1) * ld + n && n <= ld);
    // SAFETY: the three slices cover every element the strides reach, as asserted; `out` is borrowed mutably, so it
    // overlaps neither operand; f32 is one of gemm's types, and `read_dst` is false, so `out` is only written.
    #[expect(unsafe_code, reason = "the gemm crate's only entry point takes pointers and strides")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            ld as isize,
            false,
            x.as_ptr(),
            1,
            k as isize,
            w.as_ptr(),
            k as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
