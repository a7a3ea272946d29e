//! Linear layers. Weights are packed once; tiles are computed in registers; bias, activation and residual follow while the tile is in cache.
//!
//! Written here because existing crates are slower for so few rows, where packing the weights at every call costs a lot:
//! docs/performance.md has the measurements (`gemm`, `rten-gemm`).

use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::int8;
use super::math::exp;
use super::pack::{MOST_ROWS, Packed, Rows, pack_rows, tiles};
use super::prefetch::prefetch;
use crate::ops::{Activation, Data, Linear, Operands};

/// Number of f32 values in a cache line.
const LINE: usize = 16;
/// How much of k is multiplied at a time, so that the packed rows of many tiles stay in the core's own cache while all panels of
/// weights pass by. Sums go on where the part before has left them, so that this changes no result.
const DEPTH: usize = 768;
/// Number of tasks per thread: enough that no thread waits long for the last task.
const TASKS: usize = 4;

/// A weight laid out for products.
pub enum Matrix {
    F32(Packed),
    Int8(int8::Weights),
}

impl Matrix {
    /// Number of values of the weight.
    pub fn len(&self) -> usize {
        match self {
            Matrix::F32(weight) => weight.len(),
            Matrix::Int8(weight) => weight.len(),
        }
    }
}

/// `operands` are those of [`Linear`]. With `matrix`, that weight is used, which is already laid out.
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

/// The two factors of a product: packed rows and the weight.
enum Factors<'a> {
    F32(&'a [f32], &'a Packed),
    Int8(int8::Activations<'a>, &'a int8::Weights),
}

/// A product, with the steps that follow it: bias, activation, layer scale, residual.
struct Product<'a> {
    op: &'a Linear,
    factors: Factors<'a>,
    /// Rows and columns of its register tiles.
    most_rows: usize,
    width: usize,
    bias: &'a [f32],
    gamma: &'a [f32],
    /// The residual, starting at the first row that is written.
    residual: &'a [f32],
}

/// The part of the output that one task computes: some tiles of rows and some columns.
struct Task<'t, 'o> {
    tiles: &'t [Rows],
    /// First column, a multiple of the panel's.
    col: usize,
    /// This task's columns of each output row, starting at the first tile's first row.
    out: Vec<&'o mut [f32]>,
}

/// Divides the output into tasks, so that a task's rows fit a core's cache and each thread gets a few tasks.
fn split<'t, 'o>(product: &Product<'_>, tiles: &'t [Rows], mut rows: Vec<&'o mut [f32]>) -> Vec<Task<'t, 'o>> {
    let n = product.op.n;
    let width = product.width;
    let panels = n.div_ceil(width);
    let bytes = if matches!(product.factors, Factors::F32(..)) { 4 } else { 1 };
    // Packed rows take the greater part of the core's own cache; panels of weights need the rest.
    let fitting = (own_cache() / 8 * 5 / (bytes * product.depth() * product.most_rows)).max(1);
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

impl Product<'_> {
    /// How much of k is multiplied at a time: k, divided evenly.
    fn depth(&self) -> usize {
        let k = self.op.k.max(1);
        match self.factors {
            Factors::F32(..) => k.div_ceil(k.div_ceil(DEPTH)),
            Factors::Int8(..) => k,
        }
    }
}

/// Bytes of the cache that each core has to itself: the second level's, where the system tells.
fn own_cache() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let told = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").unwrap_or_default();
        let kib = told.trim().strip_suffix('K').and_then(|kib| kib.parse::<usize>().ok());
        kib.map_or(1 << 20, |kib| (kib << 10).clamp(256 << 10, 4 << 20))
    })
}

impl Task<'_, '_> {
    fn run(mut self, product: &Product<'_>) {
        let arch = pulp::Arch::new();
        let first = self.tiles[0].0;
        let cols = self.out[0].len();
        let mut room = ROOM.take();
        let (k, depth) = (product.op.k, product.depth());
        // A product without any k still has its bias.
        for start in (0..k.max(1)).step_by(depth) {
            let part = start..(start + depth).min(k);
            for from in (0..cols).step_by(product.width) {
                let col = self.col + from;
                let panel = match &product.factors {
                    Factors::F32(_, weight) => weight.panel(col / product.width, &part, &mut room),
                    Factors::Int8(..) => &[],
                };
                // The first tiles announce the next panel, a cache line with each step along k.
                let mut ahead = match &product.factors {
                    Factors::F32(_, weight) => weight.next_panel(col / product.width, &part),
                    Factors::Int8(..) => &[],
                };
                for &(row, rows) in self.tiles {
                    let out = &mut self.out[row - first..row - first + rows];
                    arch.dispatch(Tile { product, part: part.clone(), panel, ahead, row, col, from, out });
                    ahead = ahead.get(LINE * part.len()..).unwrap_or_default();
                }
            }
        }
        ROOM.set(room);
    }
}

thread_local! {
    /// Memory for a panel converted to f32. New memory for every task would cost more than the conversion.
    static ROOM: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// One register tile.
struct Tile<'a, 'o> {
    product: &'a Product<'a>,
    /// The part of k that is multiplied.
    part: Range<usize>,
    /// The columns of an f32 weight, for that part.
    panel: &'a [f32],
    /// What is read after this tile, to be announced.
    ahead: &'a [f32],
    row: usize,
    col: usize,
    /// First column within the rows of `out`.
    from: usize,
    out: &'a mut [&'o mut [f32]],
}

/// Number of sums in the largest tile.
const MOST: usize = MOST_ROWS * 32;

impl WithSimd for Tile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if let Factors::Int8(x, weight) = &self.product.factors {
            // The sums are this function's own, so that the compiler knows that nothing else changes them.
            let mut sums = [0.0f32; MOST];
            int8::multiply(x, weight, self.col / int8::COLS, (self.row, self.out.len()), &mut sums);
            return self.store::<{ int8::COLS }>(&sums);
        }
        // Known when this is compiled: two vectors.
        match 2 * S::F32_LANES {
            32 => self.compute::<S, 32>(simd),
            16 => self.compute::<S, 16>(simd),
            8 => self.compute::<S, 8>(simd),
            _ => self.compute::<S, 2>(simd),
        }
    }
}

impl Tile<'_, '_> {
    #[inline(always)]
    fn compute<S: Simd, const W: usize>(self, simd: S) {
        let Factors::F32(x, _) = &self.product.factors else { return };
        let (rows, k) = (self.out.len(), self.product.op.k);
        let x = &x[self.row * k + self.part.start * rows..][..rows * self.part.len()];
        let mut sums = [0.0f32; MOST];
        let goes_on = self.part.start > 0;
        if goes_on {
            for (sums, out) in sums.as_chunks_mut::<W>().0.iter_mut().zip(&*self.out) {
                *sums = row_of(out, self.from);
            }
        }
        macro_rules! tile {
            ($($rows:literal)*) => {
                match rows {
                    $($rows => multiply::<S, $rows>(simd, x, self.panel, self.ahead, goes_on, &mut sums),)*
                    _ => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        if self.part.end == k {
            return self.store::<W>(&sums);
        }
        for (sums, out) in sums.as_chunks::<W>().0.iter().zip(self.out) {
            write(sums, &mut out[self.from..]);
        }
    }

    /// Applies bias, activation, layer scale and residual to the tile, and writes it to the output. The width is known, so that a
    /// row is a few vectors without loops.
    #[inline(always)]
    fn store<const W: usize>(self, sums: &[f32; MOST]) {
        let Product { op, bias, gamma, residual, .. } = self.product;
        let (act, first) = (op.act, op.y_col + self.col);
        let residual = op.residual.then_some((residual, op.ld));
        let (bias, gamma) =
            (op.bias.then(|| row_of::<W>(bias, self.col)), op.gamma.then(|| row_of::<W>(gamma, self.col)));
        for (i, (out, sums)) in self.out.iter_mut().zip(sums.as_chunks::<W>().0).enumerate() {
            let mut row = *sums;
            if let Some(bias) = &bias {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
            // The match is outside the loop, so that the loop of each activation is vectorised.
            match act {
                Activation::None => {}
                Activation::Gelu => row.iter_mut().for_each(|y| *y = Activation::Gelu.apply_with(*y, exp)),
                act => row.iter_mut().for_each(|y| *y = act.apply_with(*y, exp)),
            }
            if let Some(gamma) = &gamma {
                row.iter_mut().zip(gamma).for_each(|(y, g)| *y *= g);
            }
            if let Some((residual, ld)) = residual {
                let residual = row_of::<W>(residual, (self.row + i) * ld + first);
                row.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
            }
            write(&row, &mut out[self.from..]);
        }
    }
}

/// Writes the values that there is room for.
#[inline(always)]
fn write<const W: usize>(row: &[f32; W], out: &mut [f32]) {
    match out.first_chunk_mut() {
        Some(out) => *out = *row,
        None => out.copy_from_slice(&row[..out.len()]),
    }
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

/// `sums[ROWS][two vectors] = Σ x[k][ROWS]·panel[k][two vectors]`, or adds to what `sums` has if it `goes_on`. Each sum is taken in order of k in every tile, so that results
/// do not depend on how the work is divided.
#[inline(always)]
fn multiply<S: Simd, const ROWS: usize>(
    simd: S,
    x: &[f32],
    panel: &[f32],
    ahead: &[f32],
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
