//! Linear layers in eight bits. Weights `[n, k]` are rounded once at load, with a scale per output channel. Activations are
//! rounded before each product, with a range per row. Sums are integers; everything after them is f32.
//!
//! `x ≈ lo + step·q`, q in 0..=255, and `w ≈ scale·p`, p in -127..=127, give
//! `Σ x·w ≈ scale·(step·Σ q·p + lo·Σ p)`, where `Σ p` is computed at load. The integer sums are exact with any instructions.

use rayon::prelude::*;

use super::pack::{MOST_ROWS, Rows, by_tile, rows_of};

/// The most rows of a register tile.
pub const ROWS: usize = MOST_ROWS;
/// Columns of a register tile: two vectors of sixteen sums.
pub const COLS: usize = 32;
/// Number of products along k that one instruction adds up.
const GROUP: usize = 4;
/// The largest k for which no sum can overflow an `i32`.
pub const LARGEST_K: usize = i32::MAX as usize / (255 * 127);

/// Whole sums of one register tile.
type Sums<const R: usize> = [[i32; COLS]; R];

/// A weight in panels of [`COLS`] columns: `[panels][k / 4][cols][4]`, padded with zeros.
pub struct Weights {
    values: Vec<i8>,
    /// For each column, including the padding of the last panel: its scale and the sum of its rounded values.
    columns: Vec<[f32; 2]>,
    n: usize,
    k: usize,
}

impl Weights {
    /// `weight` is `[n, k]`.
    pub fn new(weight: &[f32], n: usize, k: usize) -> Weights {
        let (panels, padded) = (n.div_ceil(COLS), k.next_multiple_of(GROUP));
        let mut values = vec![0i8; panels * COLS * padded];
        let mut columns = vec![[0.0; 2]; panels * COLS];
        let panels = values.par_chunks_mut((COLS * padded).max(1)).zip(columns.par_chunks_mut(COLS));
        panels.enumerate().for_each(|(i, (panel, columns))| {
            let rows = weight[i * COLS * k..].chunks_exact(k.max(1));
            for (j, (row, column)) in rows.zip(columns).enumerate() {
                // A NaN in the weights must stay visible in the result.
                let largest =
                    row.iter().fold(0.0f32, |most, w| if w.abs() > most || w.is_nan() { w.abs() } else { most });
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
        Weights { values, columns, n, k }
    }

    /// Number of values, without padding.
    pub fn len(&self) -> usize {
        self.n * self.k
    }

    /// Number of groups of four values in a row of activations.
    fn groups(&self) -> usize {
        self.k.div_ceil(GROUP)
    }
}

/// Activations by tile, `[k / 4][rows]` groups of four bytes each.
pub struct Activations<'a> {
    /// Step and smallest value of every row.
    ranges: &'a [[f32; 2]],
    values: &'a [u32],
}

/// Rounds `x [m, k]` to bytes, row by row. The bytes are stored in `room`.
pub fn round<'a>(x: &[f32], weights: &Weights, tiles: &[Rows], room: &'a mut Vec<f32>) -> Activations<'a> {
    let (k, groups) = (weights.k, weights.groups());
    let m = rows_of(tiles);
    if room.len() < m * (groups + 2) {
        room.resize(m * (groups + 2), 0.0);
    }
    let (ranges, values) = room[..m * (groups + 2)].split_at_mut(2 * m);
    let (ranges, values) = (ranges.as_chunks_mut::<2>().0, bytemuck::cast_slice_mut::<f32, u32>(values));
    let parts = by_tile(values, groups, tiles).into_par_iter().zip(by_tile(ranges, 1, tiles));
    parts.for_each(|(((first, rows), part), (_, ranges))| {
        let mut line = vec![0; groups];
        for (j, range) in ranges.iter_mut().enumerate() {
            let row = &x[(first + j) * k..][..k];
            *range = pulp::Arch::new().dispatch(|| round_row(row, &mut line));
            part[j..].iter_mut().step_by(rows).zip(&line).for_each(|(to, group)| *to = *group);
        }
    });
    Activations { ranges, values }
}

/// Rounds one row to groups of four bytes, and returns its step and smallest value. Both are NaN if a value of the row is not finite.
#[inline(always)]
fn round_row(row: &[f32], out: &mut [u32]) -> [f32; 2] {
    const LANES: usize = 16;
    let (mut lo, mut hi, mut bad) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0.0f32; LANES]);
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lo[i] = lo[i].min(chunk[i]);
            hi[i] = hi[i].max(chunk[i]);
            bad[i] += chunk[i] * 0.0;
        }
    }
    for (i, value) in rest.iter().enumerate() {
        (lo[i], hi[i], bad[i]) = (lo[i].min(*value), hi[i].max(*value), bad[i] + value * 0.0);
    }
    let bad: f32 = bad.iter().sum();
    let (lo, hi) = (lo.into_iter().fold(f32::INFINITY, f32::min), hi.into_iter().fold(f32::NEG_INFINITY, f32::max));
    let step = (hi - lo) / 255.0;
    let inverse = if step > f32::MIN_POSITIVE { 1.0 / step } else { 0.0 };
    // Adding 1.5·2²³ puts the nearest integer into the lowest bits.
    let byte = |value: f32| ((value - lo) * inverse + 12_582_912.0).to_bits() as u8;
    let (chunks, rest) = row.as_chunks::<{ GROUP * LANES }>();
    let (lines, tail) = out.as_chunks_mut::<LANES>();
    for (line, chunk) in lines.iter_mut().zip(chunks) {
        let bytes = chunk.map(byte);
        let groups = bytes.as_chunks::<GROUP>().0;
        *line = std::array::from_fn(|i| u32::from_le_bytes(groups[i]));
    }
    // The padding of the last group is multiplied by weights of zero.
    let tail = lines[chunks.len()..].as_flattened_mut().iter_mut().chain(tail);
    for (group, out) in rest.chunks(GROUP).zip(tail) {
        let mut bytes = [0; GROUP];
        bytes.iter_mut().zip(group).for_each(|(to, value)| *to = byte(*value));
        *out = u32::from_le_bytes(bytes);
    }
    [step + bad, lo + bad]
}

/// `sums[rows][COLS]` of the tile that begins at `row`, by columns `panel·COLS` and on, in f32.
#[inline(always)]
pub fn multiply(x: &Activations<'_>, weights: &Weights, panel: usize, (row, rows): Rows, sums: &mut [f32]) {
    let groups = weights.groups();
    let len = COLS * GROUP * groups;
    let values = &weights.values[panel * len..(panel + 1) * len];
    let columns = &weights.columns[panel * COLS..][..COLS];
    let x_values = &x.values[row * groups..][..rows * groups];
    macro_rules! tile {
        ($($rows:literal)*) => {
            match rows {
                $($rows => tile::<$rows>(x_values, values, &x.ranges[row..], columns, sums),)*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// One tile, with VNNI instructions if the processor has them.
fn tile<const R: usize>(x: &[u32], panel: &[i8], ranges: &[[f32; 2]], columns: &[[f32; 2]], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if dot_products() {
        // SAFETY: `dot_products` has checked that the processor has these instructions, which is the only condition of `vnni`.
        #[expect(unsafe_code, reason = "a function with target features is unsafe to call from one without")]
        return unsafe { vnni::<R>(x, panel, ranges, columns, sums) };
    }
    scaled(&plain::<R>(x, panel), ranges, columns, sums);
}

/// The sums in f32: `scale·(step·whole + lo·column)`.
#[inline(always)]
fn scaled<const R: usize>(whole: &Sums<R>, ranges: &[[f32; 2]], columns: &[[f32; 2]], sums: &mut [f32]) {
    let columns: [[f32; 2]; COLS] = std::array::from_fn(|i| columns[i]);
    let (scales, column_sums) = (columns.map(|[scale, _]| scale), columns.map(|[_, sum]| sum));
    for ((whole, [step, lo]), sums) in whole.iter().zip(ranges).zip(sums.as_chunks_mut::<COLS>().0) {
        for i in 0..COLS {
            sums[i] = scales[i] * (step * whole[i] as f32 + lo * column_sums[i]);
        }
    }
}

/// Whether this processor has an instruction that multiplies bytes and adds up the products. Without it, eight bits are not faster than f32.
pub fn dot_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A tile by `vpdpbusd`, which handles four values of k in sixteen columns per instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni<const R: usize>(x: &[u32], panel: &[i8], ranges: &[[f32; 2]], columns: &[[f32; 2]], out: &mut [f32]) {
    use std::arch::x86_64::{__m512i, _mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_setzero_si512};
    const HALF: usize = COLS / 2;
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    for (x, w) in x.as_chunks::<R>().0.iter().zip(panel.as_chunks::<{ GROUP * HALF }>().0.as_chunks::<2>().0) {
        let w: [__m512i; 2] = [bytemuck::cast(w[0]), bytemuck::cast(w[1])];
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = _mm512_set1_epi32(x.cast_signed());
            sums[0] = _mm512_dpbusd_epi32(sums[0], x, w[0]);
            sums[1] = _mm512_dpbusd_epi32(sums[1], x, w[1]);
        }
    }
    // Here, so that the sums stay in registers.
    scaled(bytemuck::cast_ref::<_, Sums<R>>(&sums), ranges, columns, out);
}

/// The same sums without special instructions.
fn plain<const R: usize>(x: &[u32], panel: &[i8]) -> Sums<R> {
    let mut sums = [[0; COLS]; R];
    for (x, w) in x.as_chunks::<R>().0.iter().zip(panel.as_chunks::<GROUP>().0.as_chunks::<COLS>().0) {
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = x.to_le_bytes().map(i32::from);
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum +=
                    x[0] * i32::from(w[0]) + x[1] * i32::from(w[1]) + x[2] * i32::from(w[2]) + x[3] * i32::from(w[3]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::pack::tiles;
    use crate::model::random::HashedValues;

    fn values(name: &str, len: usize) -> Vec<f32> {
        let stream = HashedValues::new(name, 0);
        (0..len).map(|i| stream.get(i)).collect()
    }

    /// `x·wᵀ` in eight bits.
    fn product(x: &[f32], w: &[f32], (m, n, k): (usize, usize, usize)) -> Vec<f32> {
        let (weights, tiles, mut room) = (Weights::new(w, n, k), tiles(m, ROWS), Vec::new());
        let x = round(x, &weights, &tiles, &mut room);
        let mut out = vec![0.0; m * n];
        for &(row, rows) in &tiles {
            for panel in 0..n.div_ceil(COLS) {
                let mut sums = [0.0; ROWS * COLS];
                multiply(&x, &weights, panel, (row, rows), &mut sums);
                for i in 0..rows {
                    let cols = COLS.min(n - panel * COLS);
                    out[(row + i) * n + panel * COLS..][..cols].copy_from_slice(&sums[i * COLS..][..cols]);
                }
            }
        }
        out
    }

    #[test]
    fn the_instructions_give_the_plain_sums() {
        // Every byte there is, and the largest sums.
        let x: Vec<u32> = (0..ROWS * 64).map(|i| (i as u32).wrapping_mul(0x9E37_79B9) | 0x8000_00FF).collect();
        let panel: Vec<i8> = (0..64 * COLS * GROUP).map(|i| if i % 3 == 0 { -127 } else { (i * 31) as i8 }).collect();
        let (ranges, columns) = ([[0.25, -3.0]; ROWS], [[0.5, 7.0]; COLS]);
        let (mut got, mut want) = ([0.0; ROWS * COLS], [0.0; ROWS * COLS]);
        tile::<14>(&x, &panel, &ranges, &columns, &mut got);
        scaled(&plain::<14>(&x, &panel), &ranges, &columns, &mut want);
        assert_eq!(got, want);
        tile::<1>(&x[..64], &panel, &ranges, &columns, &mut got);
        scaled(&plain::<1>(&x[..64], &panel), &ranges, &columns, &mut want);
        assert_eq!(got, want);
        assert_eq!(
            plain::<1>(&[0xFF02_01FF], &[127, -1, 3, -127].repeat(COLS))[0],
            [127 * 255 - 1 + 6 - 127 * 255; COLS]
        );
    }

    #[test]
    fn products_are_within_the_rounding_of_their_factors() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (15, 33, 64), (29, 70, 130), (2, 64, 3072)] {
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
