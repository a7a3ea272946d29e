//! Matrices laid out for the product's inner loop: weights once, at load; activations before each product.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Most rows of a register tile: with two vectors across, 28 of 32 registers hold sums.
const MOST_ROWS: usize = 14;

/// How wide this processor's register tiles are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Most rows.
    pub rows: usize,
    /// Columns: two vectors.
    pub cols: usize,
}

impl Shape {
    /// That of the instructions in use: 14×32 with AVX-512, 6×16 with AVX2, 14×8 with NEON.
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
    pub values: Vec<f32>,
    pub shape: Shape,
    pub k: usize,
}

impl Packed {
    pub fn new(weight: &[f32], n: usize, k: usize) -> Packed {
        let shape = Shape::here();
        let cols = shape.cols;
        let mut values = vec![0.0; n.div_ceil(cols) * cols * k];
        values.par_chunks_mut((cols * k).max(1)).enumerate().for_each(|(i, panel)| {
            for (j, row) in weight[i * cols * k..].chunks_exact(k.max(1)).take(cols).enumerate() {
                panel[j..].iter_mut().step_by(cols).zip(row).for_each(|(to, value)| *to = *value);
            }
        });
        Packed { values, shape, k }
    }

    /// Columns `i·cols` and on, `[k][cols]`.
    pub fn panel(&self, i: usize) -> &[f32] {
        let len = self.shape.cols * self.k;
        &self.values[i * len..(i + 1) * len]
    }
}

/// Rows of a tile: the first, and how many.
pub type Rows = (usize, usize);

/// `m` rows in as few tiles of at most `most` as can be, as even as can be.
pub fn tiles(m: usize, most: usize) -> Vec<Rows> {
    let count = m.div_ceil(most);
    (0..count).map(|i| (i * m / count, (i + 1) * m / count - i * m / count)).collect()
}

/// Activations `[m, k]` by tile: `[k][rows]` one after another, each where its first row was.
pub fn pack_rows(x: &[f32], k: usize, tiles: &[Rows], out: &mut Vec<f32>) {
    let m = tiles.last().map_or(0, |(first, rows)| first + rows);
    if out.len() < m * k {
        out.resize(m * k, 0.0);
    }
    let mut rest = &mut out[..m * k];
    let mut parts = Vec::with_capacity(tiles.len());
    for &(first, rows) in tiles {
        let (part, after) = rest.split_at_mut(rows * k);
        parts.push((first, rows, part));
        rest = after;
    }
    parts.into_par_iter().for_each(|(first, rows, part)| {
        for j in 0..rows {
            let row = &x[(first + j) * k..][..k];
            part[j..].iter_mut().step_by(rows).zip(row).for_each(|(to, value)| *to = *value);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
