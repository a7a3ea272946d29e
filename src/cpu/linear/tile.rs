//! One tile of the output: its sums, then bias, activation, layer scale and residual while it is in cache.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::amx::{self, Ready};
use super::super::int8;
use super::super::math::Math;
use super::super::pack::MOST_ROWS;
use super::super::prefetch::{LINE, prefetch};
use super::factors::{Factors, Panel};
use crate::ops::{Activation, Linear};

/// A product, with the steps that follow it: bias, activation, layer scale, residual.
pub struct Product<'a> {
    pub op: &'a Linear,
    pub factors: Factors<'a>,
    pub bias: &'a [f32],
    pub gamma: &'a [f32],
    /// The residual, starting at the first row that is written.
    pub residual: &'a [f32],
}

/// One register tile.
pub struct Tile<'a, 'o> {
    pub product: &'a Product<'a>,
    /// The part of k that is multiplied.
    pub part: Range<usize>,
    pub panel: Panel<'a>,
    /// What is read after this tile, to be announced.
    pub ahead: &'a [u8],
    /// Where matrix instructions are used.
    pub ready: Option<&'a Ready>,
    pub row: usize,
    pub col: usize,
    /// First column within the rows of `out`.
    pub from: usize,
    pub out: &'a mut [&'o mut [f32]],
}

/// Number of sums in the largest tile of vectors.
const MOST: usize = MOST_ROWS * 32;

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    // Sums are each function's own, so that the compiler knows that nothing else changes them.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tile = (self.row, self.out.len());
        match (&self.product.factors, self.panel, self.ready) {
            (Factors::Int8(x, weight), _, Some(ready)) => {
                let mut whole = amx::Sums::<i32>::default();
                let i = self.col / int8::COLS;
                x.multiply(ready, weight, i, tile, &mut whole.0, self.ahead);
                let scales = int8::Scales::new(x, weight, i, self.row);
                self.store(
                    simd,
                    #[inline(always)]
                    |i| scales.row(i, &whole.0[i]),
                );
            }
            (Factors::Int8(x, weight), _, None) => {
                let mut sums = [0.0f32; MOST];
                int8::multiply(x, weight, self.col / int8::COLS, tile, &mut sums);
                let sums = sums.as_chunks::<{ int8::COLS }>().0;
                self.store(
                    simd,
                    #[inline(always)]
                    |i| sums[i],
                );
            }
            (Factors::Bf16x3(x, _), Panel::Parts(panel), Some(ready)) => {
                let mut sums = amx::Sums::<f32>::default();
                self.begin(&mut sums.0);
                x.multiply(ready, tile, &self.part, panel, &mut sums.0, self.ahead);
                self.end(simd, &sums.0);
            }
            // The width is known when this is compiled: two vectors.
            (Factors::F32(x, _), Panel::F32(panel), _) => match 2 * S::F32_LANES {
                32 => self.compute::<S, 32>(simd, x, panel),
                16 => self.compute::<S, 16>(simd, x, panel),
                8 => self.compute::<S, 8>(simd, x, panel),
                _ => self.compute::<S, 2>(simd, x, panel),
            },
            _ => unreachable!("a panel for other instructions"),
        }
    }
}

impl Tile<'_, '_> {
    #[inline(always)]
    fn compute<S: Simd, const W: usize>(mut self, simd: S, x: &[f32], panel: &[f32]) {
        let (rows, k) = (self.out.len(), self.product.op.k);
        let x = &x[self.row * k + self.part.start * rows..][..rows * self.part.len()];
        let mut sums = [0.0f32; MOST];
        self.begin::<W>(sums.as_chunks_mut().0);
        let goes_on = self.part.start > 0;
        macro_rules! tile {
            ($($rows:literal)*) => {
                match rows {
                    $($rows => multiply::<S, $rows>(simd, x, panel, self.ahead, goes_on, &mut sums),)*
                    _ => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        self.end::<S, W>(simd, sums.as_chunks().0);
    }

    /// Where there was a part of k before this one, its sums go on.
    #[inline(always)]
    fn begin<const W: usize>(&mut self, sums: &mut [[f32; W]]) {
        if self.part.start > 0 {
            for (sums, out) in sums.iter_mut().zip(&*self.out) {
                *sums = row_of(out, self.from);
            }
        }
    }

    /// Leaves sums to the next part of k, or finishes them.
    #[inline(always)]
    fn end<S: Simd, const W: usize>(self, simd: S, sums: &[[f32; W]]) {
        if self.part.end == self.product.op.k {
            return self.store(
                simd,
                #[inline(always)]
                |i| sums[i],
            );
        }
        for (sums, out) in sums.iter().zip(self.out) {
            write(sums, &mut out[self.from..]);
        }
    }

    /// Applies bias, activation, layer scale and residual to the tile, and writes it to the output. `sums` gives each row's sums.
    #[inline(always)]
    fn store<S: Simd, const W: usize>(self, simd: S, sums: impl Fn(usize) -> [f32; W]) {
        let math = Math::of(simd);
        // The match is outside the loop, so that the loop of each activation is vectorised.
        match self.product.op.act {
            Activation::None => self.store_with(simd, sums, |_| ()),
            Activation::Gelu => self.store_with(
                simd,
                sums,
                #[inline(always)]
                |row| math.activate(Activation::Gelu, row),
            ),
            act => self.store_with(
                simd,
                sums,
                #[inline(always)]
                |row| math.activate(act, row),
            ),
        }
    }

    #[inline(always)]
    fn store_with<S: Simd, const W: usize>(
        self,
        simd: S,
        sums: impl Fn(usize) -> [f32; W],
        activate: impl Fn(&mut [f32; W]),
    ) {
        let Product { op, bias, gamma, residual, .. } = self.product;
        let bias = op.bias.then(|| row_of::<W>(bias, self.col));
        let gamma = op.gamma.then(|| row_of::<W>(gamma, self.col));
        for (i, out) in self.out.iter_mut().enumerate() {
            let mut row = sums(i);
            if let Some(bias) = &bias {
                each::<S, W>(
                    &mut row,
                    bias,
                    #[inline(always)]
                    |y, b| simd.add_f32s(y, b),
                );
            }
            activate(&mut row);
            if let Some(gamma) = &gamma {
                each::<S, W>(
                    &mut row,
                    gamma,
                    #[inline(always)]
                    |y, g| simd.mul_f32s(y, g),
                );
            }
            if op.residual {
                let residual = row_of::<W>(residual, (self.row + i) * op.ld + op.y_col + self.col);
                each::<S, W>(
                    &mut row,
                    &residual,
                    #[inline(always)]
                    |y, r| simd.add_f32s(y, r),
                );
            }
            write(&row, &mut out[self.from..]);
        }
    }
}

/// Applies `f` to each vector of a row and that of another. Of a loop over so few values the compiler would make pieces of several sizes.
#[inline(always)]
fn each<S: Simd, const W: usize>(row: &mut [f32; W], other: &[f32; W], f: impl Fn(S::f32s, S::f32s) -> S::f32s) {
    for (y, x) in S::as_mut_simd_f32s(row).0.iter_mut().zip(S::as_simd_f32s(other).0) {
        *y = f(*y, *x);
    }
}

/// Writes the values that there is room for.
#[inline(always)]
fn write<const W: usize>(row: &[f32; W], out: &mut [f32]) {
    match out.first_chunk_mut() {
        Some(out) => *out = *row,
        None => write_part(row, out),
    }
}

/// Apart, as the compiler would make one call of both cases.
#[cold]
#[inline(never)]
fn write_part(row: &[f32], out: &mut [f32]) {
    out.copy_from_slice(&row[..out.len()]);
}

/// `W` values from `at` on; zeros behind the last one.
#[inline(always)]
fn row_of<const W: usize>(values: &[f32], at: usize) -> [f32; W] {
    let values = &values[at..];
    match values.first_chunk() {
        Some(row) => *row,
        None => {
            let mut row = [0.0; W];
            row[..values.len()].copy_from_slice(values);
            row
        }
    }
}

/// `sums[ROWS][two vectors] = Σ x[k][ROWS]·panel[k][two vectors]`, or adds to what `sums` has if it `goes_on`. Each sum is taken in
/// order of k in every tile, so that results do not depend on how the work is divided.
#[inline(always)]
fn multiply<S: Simd, const ROWS: usize>(
    simd: S,
    x: &[f32],
    panel: &[f32],
    ahead: &[u8],
    goes_on: bool,
    sums: &mut [f32; MOST],
) {
    let (panel, _) = S::as_simd_f32s(panel);
    let (sums, _) = S::as_mut_simd_f32s(sums);
    let mut acc = [[simd.splat_f32s(0.0); 2]; ROWS];
    if goes_on {
        acc.iter_mut().zip(sums.as_chunks::<2>().0).for_each(|(acc, sum)| *acc = *sum);
    }
    for (p, (x, w)) in x.as_chunks::<ROWS>().0.iter().zip(panel.as_chunks::<2>().0).enumerate() {
        prefetch(ahead, LINE * p);
        for (acc, x) in acc.iter_mut().zip(x) {
            let x = simd.splat_f32s(*x);
            acc[0] = simd.mul_add_e_f32s(x, w[0], acc[0]);
            acc[1] = simd.mul_add_e_f32s(x, w[1], acc[1]);
        }
    }
    sums.as_chunks_mut::<2>().0.iter_mut().zip(acc).for_each(|(sum, acc)| *sum = acc);
}
