//! Lays out matrices for the inner loop of the product: weights once at load, activations before each product.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::amx::Line;
use super::pages::{Arena, Stored};
use crate::error::Result;

/// The most rows of a register tile. With two vectors per row, 28 of the 32 registers hold sums.
pub const MOST_ROWS: usize = 14;

/// How wide this processor's register tiles are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The most rows that a tile of this shape has.
    pub rows: usize,
    /// Columns: two vectors.
    pub cols: usize,
}

impl Shape {
    /// The tile for this processor's instructions: 14×32 with AVX-512, 6×16 with AVX2, 14×8 with NEON.
    pub fn here() -> Shape {
        struct Here;
        impl WithSimd for Here {
            type Output = Shape;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> Shape {
                let rows = if S::REGISTER_COUNT >= 32 { MOST_ROWS } else { 6 };
                Shape { rows, cols: 2 * S::F32_LANES }
            }
        }
        pulp::Arch::new().dispatch(Here)
    }
}

/// A weight `[n, k]` in panels of [`Shape::cols`] columns: `[panels][k][cols]`, the last one padded with zeros.
pub struct Packed {
    values: Values,
    pub shape: Shape,
    n: usize,
    k: usize,
}

/// Values in the narrowest type that holds each exactly, so that a file in half precision takes no more memory than on disk.
enum Values {
    F32(Stored),
    F16(Stored),
    Bf16(Stored),
}

impl Packed {
    /// Lays out `weight [n, k]`, which can be used once the arena is closed.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(arena: &mut Arena, weight: &[f32], n: usize, k: usize) -> Result<Packed> {
        let shape = Shape::here();
        let cols = shape.cols;
        let len = n.div_ceil(cols) * cols * k;
        let values = if weight.par_iter().all(|value| value.to_bits() & 0xFFFF == 0) {
            let store = |to: &mut [bf16], from: &[f32]| to.convert_from_f32_slice(from);
            Values::Bf16(stored(arena, len, |values| fill(values, weight, k, cols, store))?)
        } else if weight.par_chunks(BLOCK).all(fits_f16) {
            let store = |to: &mut [f16], from: &[f32]| to.convert_from_f32_slice(from);
            Values::F16(stored(arena, len, |values| fill(values, weight, k, cols, store))?)
        } else {
            let store = |to: &mut [f32], from: &[f32]| to.copy_from_slice(from);
            Values::F32(stored(arena, len, |values| fill(values, weight, k, cols, store))?)
        };
        Ok(Packed { values, shape, n, k })
    }

    /// Number of values, without padding.
    pub fn len(&self) -> usize {
        self.n * self.k
    }

    /// How many parts in bfloat16 hold each value exactly.
    pub fn parts(&self) -> usize {
        match self.values {
            Values::Bf16(_) => 1,
            Values::F16(_) => 2,
            Values::F32(_) => 3,
        }
    }

    /// What lies behind panel `i` in rows `part` of k, which a walk through the panels reads next.
    pub fn next_panel(&self, i: usize, part: &Range<usize>) -> &[u8] {
        let (cols, next) = (self.shape.cols, (i + 1) * self.k);
        let range = (next + part.start) * cols..(next + part.end) * cols;
        match &self.values {
            Values::F32(values) => bytes_of::<f32>(values, range),
            Values::F16(values) => bytes_of::<f16>(values, range),
            Values::Bf16(values) => bytes_of::<bf16>(values, range),
        }
    }

    /// Rows `part` of k of panel `i`, which begins at column `i·cols`, as `[part][cols]`. Halves are converted to f32 in `room`.
    pub fn panel<'a>(&'a self, i: usize, part: &Range<usize>, room: &'a mut Vec<f32>) -> &'a [f32] {
        let cols = self.shape.cols;
        let range = (i * self.k + part.start) * cols..(i * self.k + part.end) * cols;
        if let Values::F32(values) = &self.values {
            return &bytemuck::cast_slice(values)[range];
        }
        room.resize(room.len().max(range.len()), 0.0);
        let room = &mut room[..range.len()];
        match &self.values {
            Values::F32(_) => {}
            Values::F16(values) => pulp::Arch::new().dispatch(|| {
                let values: &[f16] = &bytemuck::cast_slice(values)[range];
                room.iter_mut().zip(values).for_each(|(to, from)| *to = widened(from.to_bits()));
            }),
            Values::Bf16(values) => pulp::Arch::new().dispatch(|| {
                let values: &[bf16] = &bytemuck::cast_slice(values)[range];
                room.iter_mut().zip(values).for_each(|(to, from)| *to = from.to_f32());
            }),
        }
        room
    }
}

/// Memory for `len` values, filled by `fill`.
fn stored<T: bytemuck::Pod>(arena: &mut Arena, len: usize, fill: impl FnOnce(&mut [T])) -> Result<Stored> {
    let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
    arena.store(lines, |lines| fill(&mut bytemuck::cast_slice_mut(lines)[..len]))
}

/// Some of the values as bytes; none if there are not so many.
fn bytes_of<T: bytemuck::Pod>(lines: &[Line], range: Range<usize>) -> &[u8] {
    bytemuck::cast_slice(lines).get(range.start * size_of::<T>()..range.end * size_of::<T>()).unwrap_or_default()
}

/// Number of values that are converted at a time.
const BLOCK: usize = 1024;

/// Converts a finite half to f32. Unlike the `half` crate's conversion, this vectorises.
#[inline(always)]
fn widened(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7FFF) << 13);
    // The exponent bias is 15 in f16 and 127 in f32. Subnormal halves are computed by subtracting 2⁻¹⁴, which is exact.
    let normal = rest + (112 << 23);
    let small = (f32::from_bits(rest + (113 << 23)) - f32::from_bits(113 << 23)).to_bits();
    f32::from_bits(sign | if rest < 1 << 23 { small } else { normal })
}

/// Whether all values are finite and f16 represents them exactly.
fn fits_f16(values: &[f32]) -> bool {
    let (mut halves, mut again) = ([f16::ZERO; BLOCK], [0.0f32; BLOCK]);
    let (halves, again) = (&mut halves[..values.len()], &mut again[..values.len()]);
    halves.convert_from_f32_slice(values);
    halves.convert_to_f32_slice(again);
    values.iter().zip(again).all(|(value, again)| value.is_finite() && value.to_bits() == again.to_bits())
}

/// Lays out the panels of `weight [n, k]`, each put together in f32 and narrowed by `store`.
fn fill<T: Send>(out: &mut [T], weight: &[f32], k: usize, cols: usize, store: impl Fn(&mut [T], &[f32]) + Sync) {
    let len = (cols * k).max(1);
    out.par_chunks_mut(len).enumerate().for_each_init(
        || vec![0.0f32; len],
        |panel, (i, out)| {
            panel.fill(0.0);
            for (j, row) in weight[i * len..].chunks_exact(k.max(1)).take(cols).enumerate() {
                panel[j..].iter_mut().step_by(cols).zip(row).for_each(|(to, value)| *to = *value);
            }
            store(out, panel);
        },
    );
}

/// The rows of a tile: (first row, number of rows).
pub type Rows = (usize, usize);

/// Divides `m` rows into as few tiles of at most `most` rows as possible, of nearly equal size.
pub fn tiles(m: usize, most: usize) -> Vec<Rows> {
    let count = m.div_ceil(most);
    (0..count).map(|i| (i * m / count, (i + 1) * m / count - i * m / count)).collect()
}

/// Divides `m` rows into tiles of `most` rows; the last one has the rest.
pub fn blocks(m: usize, most: usize) -> Vec<Rows> {
    (0..m).step_by(most).map(|first| (first, most.min(m - first))).collect()
}

/// Number of rows of all tiles together.
pub fn rows_of(tiles: &[Rows]) -> usize {
    tiles.last().map_or(0, |(first, rows)| first + rows)
}

/// Splits `values`, with `per_row` of them for each row, into one slice per tile.
pub fn by_tile<'a, T>(values: &'a mut [T], per_row: usize, tiles: &[Rows]) -> Vec<(Rows, &'a mut [T])> {
    let mut rest = values;
    let cut = |&(first, rows): &Rows| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(rows * per_row);
        rest = after;
        ((first, rows), part)
    };
    tiles.iter().map(cut).collect()
}

/// How much of a row is packed at a time: what is written for all rows of a tile stays in the nearest cache.
const PACKED: usize = 64;

/// Packs activations `[m, k]` tile by tile as `[k][rows]`. Each tile begins at the same offset as its first row.
pub fn pack_rows(x: &[f32], k: usize, tiles: &[Rows], out: &mut Vec<f32>) {
    let m = rows_of(tiles);
    if out.len() < m * k {
        out.resize(m * k, 0.0);
    }
    by_tile(&mut out[..m * k], k, tiles).into_par_iter().for_each(|((first, rows), part)| {
        for (at, part) in (0..k).step_by(PACKED).zip(part.chunks_mut(PACKED * rows)) {
            for j in 0..rows {
                let row = &x[(first + j) * k + at..][..part.len() / rows];
                part[j..].iter_mut().step_by(rows).zip(row).for_each(|(to, value)| *to = *value);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_to_the_bit() {
        let finite = (0..=u16::MAX).filter(|bits| f16::from_bits(*bits).is_finite());
        assert!(finite.clone().all(|bits| widened(bits).to_bits() == f16::from_bits(bits).to_f32().to_bits()));
        assert_eq!(finite.count(), 63_488);
    }

    #[test]
    fn weights_keep_the_narrowest_type_that_loses_nothing() {
        let halves: Vec<f32> = (0..70 * 9).map(|i| f16::from_f32(0.001 * i as f32).to_f32()).collect();
        let short: Vec<f32> = (0..70 * 9).map(|i| bf16::from_f32(0.001 * i as f32).to_f32()).collect();
        let mut one_off = halves.clone();
        one_off[629] += 1e-7;
        let mut endless = halves.clone();
        endless[3] = f32::INFINITY;
        let cols = Shape::here().cols;
        for (weight, bytes) in [(&halves, 2), (&short, 2), (&one_off, 4), (&endless, 4)] {
            let packed = Packed::new(&mut Arena::small(), weight, 70, 9).unwrap();
            let size = match &packed.values {
                Values::F32(_) => 4,
                Values::F16(_) | Values::Bf16(_) => 2,
            };
            assert_eq!(size, bytes);
            let (mut room, mut other) = (Vec::new(), Vec::new());
            for (i, row) in weight.chunks_exact(9).enumerate() {
                let panel = packed.panel(i / cols, &(0..9), &mut room);
                let (from, part) = (i % 9, packed.panel(i / cols, &(i % 9..9), &mut other));
                assert_eq!(part, &panel[from * cols..]);
                assert!(row.iter().enumerate().all(|(at, value)| panel[at * cols + i % cols] == *value));
            }
        }
    }

    #[test]
    fn tiles_cover_every_row_once() {
        for m in [1, 13, 14, 15, 28, 29, 197, 1576] {
            let all = tiles(m, 14);
            assert!(all.iter().all(|(_, rows)| (1..=14).contains(rows)), "{m}: {all:?}");
            assert_eq!(all.iter().map(|(_, rows)| rows).sum::<usize>(), m);
            assert!(all.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
        }
        assert!(tiles(0, 14).is_empty());
    }
}
