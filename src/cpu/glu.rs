//! Gated linear units, parallel over rows.

use rayon::prelude::*;

use super::math::vectorized;
use crate::ops::{Activation, Data, Glu, Operands};

pub fn run(op: &Glu, operands: &Operands<'_>, out: &mut [f32]) {
    let x = operands[0].map_or(&[][..], Data::f32);
    let rows = x.par_chunks_exact(2 * op.width).zip(out.par_chunks_exact_mut(op.width)).take(op.rows);
    rows.for_each(|(x, out)| {
        let (gate, value) = x.split_at(op.width);
        vectorized(
            #[inline(always)]
            |math| {
                match op.act {
                    // The match is outside the loop, so that the loop of the most common activation is vectorised.
                    Activation::Silu => gated(
                        out,
                        gate,
                        value,
                        #[inline(always)]
                        |x| math.activation(Activation::Silu, x),
                    ),
                    act => gated(
                        out,
                        gate,
                        value,
                        #[inline(always)]
                        |x| math.activation(act, x),
                    ),
                }
            },
        );
    });
}

#[inline(always)]
fn gated(out: &mut [f32], gate: &[f32], value: &[f32], act: impl Fn(f32) -> f32) {
    for ((y, gate), value) in out.iter_mut().zip(gate).zip(value) {
        *y = act(*gate) * value;
    }
}
