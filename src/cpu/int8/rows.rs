//! Activations in eight bits, rounded before each product.

use rayon::prelude::*;

use super::super::amx::{self, BYTE_STEP, Line, TILE};
use super::super::math::{Math, vectorized};
use super::super::pack::{Rows, by_tile, rows_of};
use super::{GROUP, Weights};

/// Rounded activations.
pub struct Activations<'a> {
    /// Step and smallest value of every row.
    pub ranges: &'a [[f32; 2]],
    pub values: Values<'a>,
}

pub enum Values<'a> {
    /// Groups of four bytes by tile: `[k / 4][rows]`.
    Groups(&'a [u32]),
    /// `[tile of rows][step along k][16 rows]` lines. In the last tile, behind the last row, there may be anything.
    Lines(&'a [Line]),
}

/// Rounds `x [m, k]` to bytes, row by row. The bytes are stored in `room`.
pub fn round<'a>(x: &[f32], weights: &Weights, tiles: &[Rows], room: &'a mut Vec<f32>) -> Activations<'a> {
    let (k, steps, m) = (weights.k, weights.steps(), rows_of(tiles));
    let groups = steps * BYTE_STEP / GROUP;
    // Ranges first, on lines of their own.
    let (ranges_len, tall) = (m.div_ceil(BYTE_STEP / 8), m.div_ceil(TILE) * TILE);
    let (ranges, lines) = amx::lines(room, ranges_len + tall * steps).split_at_mut(ranges_len);
    let ranges = &mut bytemuck::cast_slice_mut::<Line, [f32; 2]>(ranges)[..m];
    let rounded = |row: usize, line: &mut [Line]| {
        let row = &x[row * k..][..k];
        vectorized(
            #[inline(always)]
            |math| round_row(math, row, bytemuck::cast_slice_mut(line)),
        )
    };
    if weights.amx().is_some() {
        let tiles = lines.par_chunks_mut((TILE * steps).max(1)).zip(ranges.par_chunks_mut(TILE));
        tiles.enumerate().for_each(|(i, (tile, ranges))| {
            let mut line = vec![Line::ZERO; steps];
            for (j, range) in ranges.iter_mut().enumerate() {
                *range = rounded(i * TILE + j, &mut line);
                tile[j..].iter_mut().step_by(TILE).zip(&line).for_each(|(to, part)| *to = *part);
            }
        });
        return Activations { ranges, values: Values::Lines(lines) };
    }
    let values = &mut bytemuck::cast_slice_mut::<Line, u32>(lines)[..m * groups];
    let parts = by_tile(values, groups, tiles).into_par_iter().zip(by_tile(ranges, 1, tiles));
    parts.for_each(|(((first, rows), part), (_, ranges))| {
        let mut line = vec![Line::ZERO; steps];
        for (j, range) in ranges.iter_mut().enumerate() {
            *range = rounded(first + j, &mut line);
            let groups: &[u32] = bytemuck::cast_slice(&line);
            part[j..].iter_mut().step_by(rows).zip(groups).for_each(|(to, group)| *to = *group);
        }
    });
    Activations { ranges, values: Values::Groups(values) }
}

/// Rounds one row to groups of four bytes, and returns its step and smallest value. Both are NaN if a value of the row is not finite.
#[inline(always)]
fn round_row(math: Math, row: &[f32], out: &mut [u32]) -> [f32; 2] {
    const LANES: usize = 16;
    let (mut lo, mut hi, mut bad) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0.0f32; LANES]);
    let (chunks, rest) = row.as_chunks::<LANES>();
    // Comparisons, which are one instruction each, unlike `min` and `max`: NaN shows in `bad`.
    for chunk in chunks {
        for i in 0..LANES {
            lo[i] = if chunk[i] < lo[i] { chunk[i] } else { lo[i] };
            hi[i] = if chunk[i] > hi[i] { chunk[i] } else { hi[i] };
            bad[i] = math.mul_add(chunk[i], 0.0, bad[i]);
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
