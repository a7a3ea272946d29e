//! Products of f32 by matrix instructions for bfloat16, which are sixteen times as fast as those for f32. Each factor is split into
//! three parts of 8 bits: `x = x₁ + x₂ + x₃`, `w = w₁ + w₂ + w₃`, and `x·w ≈ x₁w₁ + x₁w₂ + x₂w₁ + x₂w₂ + x₁w₃ + x₃w₁`
//! (Henry, Tang and Heinecke 2019). What is left out is below 2⁻²⁶ of the product, less than f32's own rounding.
//!
//! Weights that fewer parts hold exactly, as those from files in half precision, take fewer products.

use std::ops::Range;

use rayon::prelude::*;

use super::amx::{Amx, BF16_STEP, BLOCK, Block, Line, PARTS, Ready, TILE, lines, tiles};
use super::pack::Packed;

/// Rows split into parts: `[tile of rows][step along k][part][16 rows]` lines.
pub struct Rows<'a> {
    pub amx: Amx,
    lines: &'a [Line],
    steps: usize,
}

impl<'a> Rows<'a> {
    /// Splits `x [m, k]`; the parts are stored in `room`. In the last tile, behind the last row, there may be anything.
    pub fn new(amx: Amx, x: &[f32], (m, k): (usize, usize), room: &'a mut Vec<f32>) -> Rows<'a> {
        let steps = k.div_ceil(BF16_STEP);
        let len = steps * PARTS * TILE;
        let lines = lines(room, m.div_ceil(TILE) * len);
        lines.par_chunks_mut(len.max(1)).zip(x[..m * k].par_chunks(TILE * k.max(1))).for_each(|(tile, rows)| {
            for (j, row) in rows.chunks_exact(k).enumerate() {
                amx.split_row(row, &mut tile[j..]);
            }
        });
        Rows { amx, lines, steps }
    }

    /// `sums` of a block of rows (the first one and their number) and the columns of `panel`, over a part of k, which begins with a step.
    pub fn multiply(
        &self,
        ready: &Ready,
        rows: (usize, usize),
        part: &Range<usize>,
        panel: &Panel,
        sums: &mut Block<f32>,
        ahead: &[u8],
    ) {
        let (from, to) = (part.start / BF16_STEP, part.end.div_ceil(BF16_STEP));
        let tile = |i: usize| &self.lines[(i * self.steps + from) * PARTS * TILE..(i * self.steps + to) * PARTS * TILE];
        ready.bf16(tiles(rows, tile), to - from, (&panel.lines, panel.parts), sums, ahead);
    }
}

/// A panel of weights split into parts: `[step][part][16 pairs of k][two lines]`.
#[derive(Default)]
pub struct Panel {
    lines: Vec<Line>,
    parts: usize,
}

impl Panel {
    /// Splits `values [k][32]`, each into as many parts as hold the weight's values.
    pub fn split(&mut self, amx: Amx, weight: &Packed, values: &[f32]) {
        self.parts = weight.parts();
        let (rows, _) = values.as_chunks::<BLOCK>();
        self.lines.resize(rows.len().div_ceil(BF16_STEP) * self.parts * BLOCK, Line::ZERO);
        let tiles = self.lines.as_chunks_mut::<BLOCK>().0.chunks_exact_mut(self.parts);
        for (tiles, rows) in tiles.zip(rows.chunks(BF16_STEP)) {
            match rows.first_chunk() {
                Some(rows) => amx.split_columns(rows, tiles),
                None => {
                    amx.split_columns(&std::array::from_fn(|i| rows.get(i).copied().unwrap_or([0.0; BLOCK])), tiles)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::cpu::linear::{Matrix, run};
    use crate::cpu::pages::Arena;
    use crate::model::random::HashedValues;
    use crate::ops::{Data, Linear};

    fn values(name: &str, len: usize) -> Vec<f32> {
        let stream = HashedValues::new(name, 0);
        (0..len).map(|i| stream.get(i)).collect()
    }

    /// `x·wᵀ` by matrix instructions, if this processor has them.
    fn product(x: &[f32], w: &[f32], op: &Linear) -> Option<Vec<f32>> {
        let Some(amx) = Amx::here() else {
            eprintln!("skipped: this processor has no matrix instructions, or the system does not let them be used");
            return None;
        };
        let matrix = Matrix::Bf16x3(amx, Packed::new(&mut Arena::small(), w, op.n, op.k).unwrap());
        let mut out = vec![0.0; op.m * op.n];
        run(op, &[Some(Data::F32(x)), None, None, None, None], Some(&matrix), &mut Vec::new(), &mut out).unwrap();
        Some(out)
    }

    #[test]
    fn products_are_as_exact_as_those_of_f32() {
        let kinds: [fn(f32) -> f32; 3] = [|w| w, |w| f16::from_f32(w).to_f32(), |w| bf16::from_f32(w).to_f32()];
        for (m, n, k) in [(1, 1, 1), (16, 32, 32), (17, 33, 70), (40, 64, 1600), (70, 70, 768)] {
            let x = values("x", m * k);
            for (parts, narrow) in [3, 2, 1].into_iter().zip(kinds) {
                let w: Vec<f32> = values("w", n * k).into_iter().map(narrow).collect();
                assert_eq!(Packed::new(&mut Arena::small(), &w, n, k).unwrap().parts(), parts, "{m}x{n}x{k}");
                let Some(got) = product(&x, &w, &Linear::new(m, k, n)) else { return };
                for (i, x) in x.chunks_exact(k).enumerate() {
                    for (j, w) in w.chunks_exact(k).enumerate() {
                        let products = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                        let size: f64 = products.clone().map(f64::abs).sum();
                        let off = (f64::from(got[i * n + j]) - products.sum::<f64>()).abs();
                        assert!(off <= 2f64.powi(-22) * size, "{m}x{n}x{k} at {i}, {j}: off by {off:e} of {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit_and_what_is_no_number_stays_in_its_row_and_column() {
        let (m, n, k) = (70, 130, 900);
        let (mut x, mut w) = (values("x", m * k), values("w", n * k));
        let of = |threads: usize, x: &[f32], w: &[f32]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| product(x, w, &Linear::new(m, k, n)))
        };
        let Some(one) = of(1, &x, &w) else { return };
        assert!(one == of(3, &x, &w).unwrap());
        (x[20 * k + 1], w[33 * k + 7]) = (f32::INFINITY, f32::NAN);
        for (i, y) in of(1, &x, &w).unwrap().into_iter().enumerate() {
            assert_eq!(!y.is_finite(), i / n == 20 || i % n == 33, "{} {}: {y}", i / n, i % n);
            assert!(!y.is_finite() || y == one[i]);
        }
    }
}
