//! Linear layers in eight bits. Weights `[n, k]` are rounded once at load, with a scale per output channel. Activations are
//! rounded before each product, with a range per row. Sums are integers; everything after them is f32.
//!
//! `x ≈ lo + step·q`, q in 0..=255, and `w ≈ scale·p`, p in -127..=127, give
//! `Σ x·w ≈ scale·(step·Σ q·p + lo·Σ p)`, where `Σ p` is computed at load. The integer sums are exact with any instructions.

mod dot;
mod rows;

use rayon::prelude::*;

use self::dot::Dot;
use self::rows::Values;
pub use self::rows::{Activations, round};
use super::amx::{self, Amx, BYTE_STEP, Line, Ready, TILE};
use super::pack::{MOST_ROWS, Rows, blocks, tiles};
use super::pages::{Arena, Stored};
use crate::error::Result;

/// The most rows of a register tile.
const ROWS: usize = MOST_ROWS;
/// Columns of a register tile: two vectors of sixteen sums.
pub const COLS: usize = 32;
/// Number of products along k that one instruction adds up.
const GROUP: usize = 4;
/// The largest k for which no sum can overflow an `i32`.
pub const LARGEST_K: usize = i32::MAX as usize / (255 * 127);

/// Whether this processor has an instruction that multiplies bytes and adds up the products. Without it, eight bits are not faster
/// than f32.
pub fn dot_products() -> bool {
    Dot::here().is_some()
}

/// By which instructions tiles are computed.
#[derive(Debug, Clone, Copy)]
enum Kernel {
    /// Matrix instructions.
    Amx(Amx),
    /// Those that add up four products.
    Dot(Dot),
    Plain,
}

impl Kernel {
    fn best() -> Kernel {
        match (Amx::here(), Dot::here()) {
            (Some(amx), _) => Kernel::Amx(amx),
            (None, Some(dot)) => Kernel::Dot(dot),
            (None, None) => Kernel::Plain,
        }
    }
}

/// A weight in panels of [`COLS`] columns: `[panels][k / 4][cols][4]`, padded with zeros to whole steps of matrix instructions.
pub struct Weights {
    kernel: Kernel,
    values: Stored,
    /// For each column, including the padding of the last panel: its scale and the sum of its rounded values.
    columns: Vec<[f32; 2]>,
    n: usize,
    k: usize,
}

impl Weights {
    /// `weight` is `[n, k]`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(arena: &mut Arena, weight: &[f32], n: usize, k: usize) -> Result<Weights> {
        Weights::with(Kernel::best(), arena, weight, n, k)
    }

    fn with(kernel: Kernel, arena: &mut Arena, weight: &[f32], n: usize, k: usize) -> Result<Weights> {
        let (panels, padded) = (n.div_ceil(COLS), k.next_multiple_of(BYTE_STEP));
        let lines = panels * COLS * padded / size_of::<Line>();
        let mut columns = vec![[0.0; 2]; panels * COLS];
        let values = arena.store(lines, |lines| lay_out(bytemuck::cast_slice_mut(lines), &mut columns, weight, k))?;
        Ok(Weights { kernel, values, columns, n, k })
    }

    /// Divides rows of activations into tiles.
    pub fn tiles(&self, m: usize) -> Vec<Rows> {
        match self.kernel {
            Kernel::Amx(_) => blocks(m, amx::BLOCK),
            Kernel::Dot(_) | Kernel::Plain => tiles(m, ROWS),
        }
    }

    /// What its tiles need, if they are computed by matrix instructions.
    pub fn amx(&self) -> Option<Amx> {
        match self.kernel {
            Kernel::Amx(amx) => Some(amx),
            Kernel::Dot(_) | Kernel::Plain => None,
        }
    }

    fn panel(&self, i: usize) -> &[Line] {
        let len = self.steps() * amx::BLOCK;
        &self.values[i * len..(i + 1) * len]
    }

    /// What lies behind a panel.
    pub fn next_panel(&self, i: usize) -> &[u8] {
        let len = self.steps() * amx::BLOCK;
        bytemuck::cast_slice(self.values.get((i + 1) * len..(i + 2) * len).unwrap_or_default())
    }

    /// Number of values, without padding.
    pub fn len(&self) -> usize {
        self.n * self.k
    }

    /// Number of steps of matrix instructions along k.
    fn steps(&self) -> usize {
        self.k.div_ceil(BYTE_STEP)
    }
}

/// Rounds `weight [n, k]` to panels, and to scales and sums of its columns.
fn lay_out(values: &mut [i8], columns: &mut [[f32; 2]], weight: &[f32], k: usize) {
    let padded = k.next_multiple_of(BYTE_STEP);
    let panels = values.par_chunks_mut((COLS * padded).max(1)).zip(columns.par_chunks_mut(COLS));
    panels.enumerate().for_each(|(i, (panel, columns))| {
        let rows = weight[i * COLS * k..].chunks_exact(k.max(1));
        for (j, (row, column)) in rows.zip(columns).enumerate() {
            // A NaN in the weights must stay visible in the result.
            let largest = row.iter().fold(0.0f32, |most, w| if w.abs() > most || w.is_nan() { w.abs() } else { most });
            let scale = largest / 127.0;
            let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
            let mut sum = 0i32;
            for (at, w) in row.iter().enumerate() {
                let value = (w * inverse).round_ties_even() as i8;
                panel[(at / GROUP * COLS + j) * GROUP + at % GROUP] = value;
                sum += i32::from(value);
            }
            *column = [scale, sum as f32];
        }
    });
}

impl Activations<'_> {
    /// Whole sums of a tile's rows, by columns `panel·COLS` and on, by matrix instructions; [`Scales`] has the rest.
    /// `ahead` is asked for meanwhile.
    pub fn multiply(
        &self,
        ready: &Ready,
        weights: &Weights,
        panel: usize,
        rows: Rows,
        whole: &mut amx::Block<i32>,
        ahead: &[u8],
    ) {
        let Values::Lines(lines) = self.values else { unreachable!("rows for other instructions") };
        let len = weights.steps() * TILE;
        let tile = |i: usize| &lines[i * len..(i + 1) * len];
        ready.bytes(amx::tiles(rows, tile), weights.steps(), weights.panel(panel), whole, ahead);
    }
}

/// What turns the whole sums of a tile into f32.
pub struct Scales<'a> {
    ranges: &'a [[f32; 2]],
    scales: [f32; COLS],
    sums: [f32; COLS],
}

impl<'a> Scales<'a> {
    /// Those of the tile that begins at `row`, by columns `panel·COLS` and on.
    #[inline(always)]
    pub fn new(x: &Activations<'a>, weights: &Weights, panel: usize, row: usize) -> Scales<'a> {
        let columns = &weights.columns[panel * COLS..][..COLS];
        let (scales, sums) = (std::array::from_fn(|i| columns[i][0]), std::array::from_fn(|i| columns[i][1]));
        Scales { ranges: &x.ranges[row..], scales, sums }
    }

    /// A row's sums: `scale·(step·whole + lo·column)`.
    #[inline(always)]
    pub fn row(&self, i: usize, whole: &[i32; COLS]) -> [f32; COLS] {
        const LANES: usize = 16;
        let ([step, lo], mut row) = (self.ranges[i], [0.0; COLS]);
        let columns = self.scales.as_chunks::<LANES>().0.iter().zip(self.sums.as_chunks::<LANES>().0);
        let rows = row.as_chunks_mut::<LANES>().0.iter_mut().zip(whole.as_chunks::<LANES>().0);
        // A vector at a time: of longer loops the compiler makes pieces of several sizes.
        for ((row, whole), (scales, sums)) in rows.zip(columns) {
            let whole = whole.map(|value| value as f32);
            for i in 0..LANES {
                row[i] = scales[i] * (step * whole[i] + lo * sums[i]);
            }
        }
        row
    }
}

/// `sums[rows][COLS]` of the tile that begins at `row`, by columns `panel·COLS` and on, in f32.
#[inline(always)]
pub fn multiply(x: &Activations<'_>, weights: &Weights, panel: usize, (row, rows): Rows, sums: &mut [f32]) {
    let Values::Groups(values) = x.values else { unreachable!("rows for other instructions") };
    let dot = if let Kernel::Dot(dot) = weights.kernel { Some(dot) } else { None };
    let scales = Scales::new(x, weights, panel, row);
    let groups = weights.steps() * BYTE_STEP / GROUP;
    let (x, panel) = (&values[row * groups..][..rows * groups], bytemuck::cast_slice(weights.panel(panel)));
    macro_rules! tile {
        ($($rows:literal)*) => {
            match rows {
                $($rows => dot::tile::<$rows>(dot, x, panel, &scales, sums),)*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::HashedValues;

    fn values(name: &str, len: usize) -> Vec<f32> {
        let stream = HashedValues::new(name, 0);
        (0..len).map(|i| stream.get(i)).collect()
    }

    /// `x·wᵀ` in eight bits, which is the same by all instructions that this processor has.
    fn product(x: &[f32], w: &[f32], (m, n, k): (usize, usize, usize)) -> Vec<f32> {
        let kernels = [Some(Kernel::Plain), Dot::here().map(Kernel::Dot), Amx::here().map(Kernel::Amx)];
        let mut products = kernels.into_iter().flatten().map(|kernel| product_by(kernel, x, w, (m, n, k)));
        let first = products.next().unwrap();
        for other in products {
            let same = first.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
            assert!(same, "{m}x{n}x{k}");
        }
        first
    }

    fn product_by(kernel: Kernel, x: &[f32], w: &[f32], (m, n, k): (usize, usize, usize)) -> Vec<f32> {
        let (weights, mut room) = (Weights::with(kernel, &mut Arena::small(), w, n, k).unwrap(), Vec::new());
        let tiles = weights.tiles(m);
        let x = round(x, &weights, &tiles, &mut room);
        let mut out = vec![0.0; m * n];
        for &(row, rows) in &tiles {
            for panel in 0..n.div_ceil(COLS) {
                let mut sums = [[0.0; COLS]; amx::BLOCK];
                match weights.amx() {
                    Some(amx) => {
                        let (scales, mut whole) = (Scales::new(&x, &weights, panel, row), amx::Sums::default());
                        x.multiply(&amx.ready(), &weights, panel, (row, rows), &mut whole.0, &[]);
                        (0..rows).for_each(|i| sums[i] = scales.row(i, &whole.0[i]));
                    }
                    None => multiply(&x, &weights, panel, (row, rows), sums.as_flattened_mut()),
                }
                let cols = COLS.min(n - panel * COLS);
                for (i, sums) in sums.iter().take(rows).enumerate() {
                    out[(row + i) * n + panel * COLS..][..cols].copy_from_slice(&sums[..cols]);
                }
            }
        }
        out
    }

    #[test]
    fn products_are_within_the_rounding_of_their_factors() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (15, 33, 64), (16, 32, 64), (70, 70, 130), (2, 64, 3072)] {
            let (x, w) = (values("x", m * k), values("w", n * k));
            let got = product(&x, &w, (m, n, k));
            for i in 0..m {
                let row = &x[i * k..][..k];
                let range = row.iter().copied().fold(f32::MIN, f32::max) - row.iter().copied().fold(f32::MAX, f32::min);
                for j in 0..n {
                    let column = &w[j * k..][..k];
                    let largest = column.iter().fold(0.0f32, |most, w| most.max(w.abs()));
                    let want: f32 = row.iter().zip(column).map(|(x, w)| x * w).sum();
                    let bound: f32 = row
                        .iter()
                        .zip(column)
                        .map(|(x, w)| range / 510.0 * (w.abs() + largest / 254.0) + largest / 254.0 * x.abs())
                        .sum();
                    let off = (got[i * n + j] - want).abs();
                    assert!(off <= bound + 1e-4, "{m}x{n}x{k} at {i}, {j}: off by {off}, {bound} allowed");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_in_its_row_and_constant_rows_are_exact() {
        let (m, n, k) = (3, 40, 70);
        let (mut x, w) = (values("x", m * k), values("w", n * k));
        x[..k].fill(0.375);
        x[k + 69] = f32::NAN;
        let got = product(&x, &w, (m, n, k));
        assert!(got[n..2 * n].iter().all(|y| y.is_nan()));
        assert!(got[..n].iter().chain(&got[2 * n..]).all(|y| y.is_finite()));
        for (y, column) in got.iter().zip(w.chunks_exact(k)) {
            let largest = column.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            let rounded: f32 = column.iter().map(|w| (w / largest * 127.0).round() * largest / 127.0).sum();
            assert!((y - 0.375 * rounded).abs() < 1e-4, "{y}");
        }
        x[0] = f32::INFINITY;
        assert!(product(&x, &w, (m, n, k))[..n].iter().all(|y| y.is_nan()));
        let mut wrong = w.clone();
        wrong[k] = f32::NAN;
        let got = product(&values("x", k), &wrong, (1, n, k));
        assert!(got[1].is_nan() && got[0].is_finite() && got[2].is_finite());
    }
}
