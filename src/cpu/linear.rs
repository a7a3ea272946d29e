//! Linear layers: packed weights, register tiles of fused multiply-adds, the epilogue while a tile is in cache.
//!
//! Written here because the kept crates are slower with such few rows, which packing weights at every call costs most:
//! docs/performance.md has the measurements (`gemm`, `rten-gemm`).

use std::cell::Cell;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::int8;
use super::math::exp;
use super::pack::{MOST_ROWS, Packed, Rows, pack_rows, tiles};
use crate::ops::{Activation, Data, Linear, Operands};

/// Bytes of packed rows that one task works on, so that they stay in a core's own cache.
const TASK_BYTES: usize = 512 << 10;
/// Tasks per thread: enough that none waits long for the last.
const TASKS: usize = 4;

/// A weight laid out for products.
pub enum Matrix {
    F32(Packed),
    Int8(int8::Weights),
}

impl Matrix {
    /// Values of the weight as it lies.
    pub fn len(&self) -> usize {
        match self {
            Matrix::F32(weight) => weight.len(),
            Matrix::Int8(weight) => weight.len(),
        }
    }
}

/// `operands` are those of [`Linear`], the weight as it lies or as `matrix` already.
pub fn run(op: &Linear, operands: &Operands<'_>, matrix: Option<&Matrix>, scratch: &mut Vec<f32>, out: &mut [f32]) {
    let [x, w, bias, gamma, residual] = [0, 1, 2, 3, 4].map(|i| operands[i].map_or(&[][..], Data::f32));
    if op.m == 0 || op.n == 0 {
        return;
    }
    let fresh;
    let matrix = match matrix {
        Some(matrix) => matrix,
        None => {
            fresh = Matrix::F32(Packed::new(w, op.n, op.k));
            &fresh
        }
    };
    let x = &x[op.x_row * op.k..];
    let (most_rows, width) = match matrix {
        Matrix::F32(packed) => (packed.shape.rows, packed.shape.cols),
        Matrix::Int8(_) => (int8::ROWS, int8::COLS),
    };
    let tiles = tiles(op.m, most_rows);
    let factors = match matrix {
        Matrix::F32(weight) => {
            pack_rows(x, op.k, &tiles, scratch);
            Factors::F32(scratch, weight)
        }
        Matrix::Int8(weight) => Factors::Int8(int8::round(x, weight, &tiles, scratch), weight),
    };
    let first = op.y_row * op.ld;
    let residual = if op.residual { &residual[first..] } else { &[] };
    let product = Product { op, factors, most_rows, width, bias, gamma, residual };
    let rows = out[first..].chunks_mut(op.ld).take(op.m).map(|row| &mut row[op.y_col..op.y_col + op.n]).collect();
    split(&product, &tiles, rows).into_par_iter().for_each(|task| task.run(&product));
}

/// What is multiplied: packed rows and the weight.
enum Factors<'a> {
    F32(&'a [f32], &'a Packed),
    Int8(int8::Activations<'a>, &'a int8::Weights),
}

/// A product and what follows it.
struct Product<'a> {
    op: &'a Linear,
    factors: Factors<'a>,
    /// Rows and columns of its register tiles.
    most_rows: usize,
    width: usize,
    bias: &'a [f32],
    gamma: &'a [f32],
    /// From the first row written on.
    residual: &'a [f32],
}

/// Some tiles of rows by some columns of the output.
struct Task<'t, 'o> {
    tiles: &'t [Rows],
    /// First column, a multiple of the panel's.
    col: usize,
    /// The columns of each row, from the first tile's first row on.
    out: Vec<&'o mut [f32]>,
}

/// Cuts the output so that a task's rows fit a core's cache and there are a few tasks for each thread.
fn split<'t, 'o>(product: &Product<'_>, tiles: &'t [Rows], mut rows: Vec<&'o mut [f32]>) -> Vec<Task<'t, 'o>> {
    let Linear { n, k, .. } = *product.op;
    let width = product.width;
    let panels = n.div_ceil(width);
    let bytes = if matches!(product.factors, Factors::F32(..)) { 4 } else { 1 };
    let fitting = (TASK_BYTES / (bytes * k.max(1) * product.most_rows)).max(1);
    let down = tiles.len().div_ceil(fitting);
    let across = (TASKS * rayon::current_num_threads()).div_ceil(down).clamp(1, panels);
    let mut tasks = Vec::with_capacity(down * across);
    for i in 0..down {
        let tiles = &tiles[i * tiles.len() / down..(i + 1) * tiles.len() / down];
        let count: usize = tiles.iter().map(|(_, rows)| rows).sum();
        let mut rest: Vec<&mut [f32]> = rows.drain(..count).collect();
        for j in 0..across {
            let (from, to) = (j * panels / across * width, ((j + 1) * panels / across * width).min(n));
            let (out, after) = rest.into_iter().map(|row| row.split_at_mut(to - from)).unzip();
            rest = after;
            tasks.push(Task { tiles, col: from, out });
        }
    }
    tasks
}

impl Task<'_, '_> {
    fn run(mut self, product: &Product<'_>) {
        let arch = pulp::Arch::new();
        let first = self.tiles[0].0;
        let cols = self.out[0].len();
        let mut room = ROOM.take();
        for from in (0..cols).step_by(product.width) {
            let col = self.col + from;
            let panel = match &product.factors {
                Factors::F32(_, weight) => weight.panel(col / product.width, &mut room),
                Factors::Int8(..) => &[],
            };
            for &(row, rows) in self.tiles {
                let out = &mut self.out[row - first..row - first + rows];
                arch.dispatch(Tile { product, panel, row, col, from, out });
            }
        }
        ROOM.set(room);
    }
}

thread_local! {
    /// A widened panel: fresh memory for every task would cost more than widening does.
    static ROOM: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// One register tile.
struct Tile<'a, 'o> {
    product: &'a Product<'a>,
    /// The columns of an f32 weight.
    panel: &'a [f32],
    row: usize,
    col: usize,
    /// First column within the rows of `out`.
    from: usize,
    out: &'a mut [&'o mut [f32]],
}

/// Room for the widest tile there is.
const MOST: usize = MOST_ROWS * 32;

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.out.len();
        let mut sums = [0.0f32; MOST];
        match &self.product.factors {
            Factors::F32(x, _) => {
                let x = &x[self.row * self.product.op.k..][..rows * self.product.op.k];
                macro_rules! tile {
                    ($($rows:literal)*) => {
                        match rows {
                            $($rows => multiply::<S, $rows>(simd, x, self.panel, &mut sums),)*
                            _ => unreachable!("a tile of {rows} rows"),
                        }
                    };
                }
                tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
            }
            Factors::Int8(x, weight) => {
                let panel = self.col / self.product.width;
                int8::multiply(x, weight, panel, (self.row, rows), &mut sums);
            }
        }
        let width = self.product.width;
        self.store(&sums, width);
    }
}

impl Tile<'_, '_> {
    /// Bias, activation, layer scale and residual, while the tile is at hand.
    #[inline(always)]
    fn store(self, sums: &[f32], width: usize) {
        let Product { op, bias, gamma, residual, .. } = self.product;
        for (i, out) in self.out.iter_mut().enumerate() {
            let from = self.from;
            let cols = width.min(out.len() - from);
            let out = &mut out[from..from + cols];
            out.copy_from_slice(&sums[i * width..][..cols]);
            if op.bias {
                out.iter_mut().zip(&bias[self.col..]).for_each(|(y, b)| *y += b);
            }
            // A match outside the loop, so that each function's loop vectorises.
            match op.act {
                Activation::None => {}
                Activation::Gelu => out.iter_mut().for_each(|y| *y = Activation::Gelu.apply_with(*y, exp)),
                act => out.iter_mut().for_each(|y| *y = act.apply_with(*y, exp)),
            }
            if op.gamma {
                out.iter_mut().zip(&gamma[self.col..]).for_each(|(y, g)| *y *= g);
            }
            if op.residual {
                let residual = &residual[(self.row + i) * op.ld + op.y_col + self.col..];
                out.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
            }
        }
    }
}

/// `sums[ROWS][two vectors] = Σ x[k][ROWS]·panel[k][two vectors]`: each sum in order of k, whatever the tile, so that results
/// do not depend on how work is cut.
#[inline(always)]
fn multiply<S: Simd, const ROWS: usize>(simd: S, x: &[f32], panel: &[f32], sums: &mut [f32]) {
    let (panel, _) = S::as_simd_f32s(panel);
    let mut acc = [[simd.splat_f32s(0.0); 2]; ROWS];
    for (x, w) in x.as_chunks::<ROWS>().0.iter().zip(panel.as_chunks::<2>().0) {
        for (acc, x) in acc.iter_mut().zip(x) {
            let x = simd.splat_f32s(*x);
            acc[0] = simd.mul_add_e_f32s(x, w[0], acc[0]);
            acc[1] = simd.mul_add_e_f32s(x, w[1], acc[1]);
        }
    }
    let (sums, _) = S::as_mut_simd_f32s(sums);
    sums.as_chunks_mut::<2>().0.iter_mut().zip(acc).for_each(|(sum, acc)| *sum = acc);
}
