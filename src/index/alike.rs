//! Vectors that are nearly the same: all pairs, in blocks, and the groups that they link.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pulp::{Arch, Simd, WithSimd};

use super::half::widen;
use super::scan::{Found, Slots, Source};
use crate::error::Result;

/// Vectors of a block. Two blocks of vectors fit a core's cache.
const ROWS: usize = 256;
/// Rows and columns of products that are summed together, in registers.
const TILE: (usize, usize) = (4, 2);
/// Values that vectors are filled up to with zeros.
const STEP: usize = 16;

/// Groups of two or more vectors whose dot product is `least` or more, or that are linked by such pairs. The score of a member is
/// its highest product with another.
pub fn groups(source: &Source<'_>, slots: &Slots, dim: usize, least: f32) -> Result<Vec<Vec<Found>>> {
    let blocks = (slots.count as usize).div_ceil(ROWS);
    let next = AtomicUsize::new(0);
    let links = Mutex::new(Links { up: (0..slots.count as usize).collect(), scores: BTreeMap::new() });
    let search = || -> Result<()> {
        let (mut room, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
        let mut products = vec![0.0; ROWS * ROWS];
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= blocks {
                return Ok(());
            }
            let rows = block(source, slots, i, dim, &mut room, &mut a)?;
            for j in i..blocks {
                let cols = block(source, slots, j, dim, &mut room, &mut b)?;
                Arch::new().dispatch(Products {
                    a: &a,
                    b: &b,
                    width: dim.next_multiple_of(STEP),
                    products: &mut products,
                });
                for row in 0..rows {
                    let from = if i == j { row + 1 } else { 0 };
                    for col in from..cols.max(from) {
                        let score = products[row * ROWS + col];
                        if score >= least {
                            let pair = (i * ROWS + row, j * ROWS + col);
                            if !slots.is_hole(pair.0 as u64) && !slots.is_hole(pair.1 as u64) {
                                links.lock().unwrap_or_else(PoisonError::into_inner).link(pair, score);
                            }
                        }
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(blocks);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        all.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(links.into_inner().unwrap_or_else(PoisonError::into_inner).groups())
}

/// Puts a block's vectors into `out` as f32 rows of [`ROWS`], filled up with zeros. Returns how many vectors it has.
fn block(
    source: &Source<'_>,
    slots: &Slots,
    number: usize,
    dim: usize,
    room: &mut Vec<u8>,
    out: &mut Vec<f32>,
) -> Result<usize> {
    let first = number * ROWS;
    let count = ROWS.min(slots.count as usize - first);
    let bytes = source.block(first as u64, count, 2 * dim, room)?;
    let width = dim.next_multiple_of(STEP);
    out.clear();
    out.resize(ROWS * width, 0.0);
    for (row, out) in bytes.chunks_exact(2 * dim).zip(out.chunks_exact_mut(width)) {
        out.iter_mut().zip(row.as_chunks::<2>().0).for_each(|(out, b)| *out = widen(u16::from_le_bytes(*b)));
    }
    Ok(count)
}

/// The product of every row of `a` with every row of `b`; both have [`ROWS`] rows of `width` values.
struct Products<'a> {
    a: &'a [f32],
    b: &'a [f32],
    width: usize,
    products: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for row in (0..ROWS).step_by(TILE.0) {
            let a: [&[S::f32s]; TILE.0] =
                std::array::from_fn(|i| S::as_simd_f32s(&self.a[(row + i) * self.width..][..self.width]).0);
            for col in (0..ROWS).step_by(TILE.1) {
                let b: [&[S::f32s]; TILE.1] =
                    std::array::from_fn(|j| S::as_simd_f32s(&self.b[(col + j) * self.width..][..self.width]).0);
                let mut sums = [[simd.splat_f32s(0.0); TILE.1]; TILE.0];
                for k in 0..a[0].len() {
                    for (a, sums) in a.iter().zip(&mut sums) {
                        for (b, sum) in b.iter().zip(sums) {
                            *sum = simd.mul_add_e_f32s(a[k], b[k], *sum);
                        }
                    }
                }
                for (i, sums) in sums.iter().enumerate() {
                    for (j, sum) in sums.iter().enumerate() {
                        self.products[(row + i) * ROWS + col + j] = simd.reduce_sum_f32s(*sum);
                    }
                }
            }
        }
    }
}

/// Groups as they grow: union-find.
struct Links {
    /// Another member of each one's group, or itself.
    up: Vec<usize>,
    /// The best score of each member of a group.
    scores: BTreeMap<usize, f32>,
}

impl Links {
    fn root(&mut self, mut at: usize) -> usize {
        while self.up[at] != at {
            self.up[at] = self.up[self.up[at]];
            at = self.up[at];
        }
        at
    }

    fn link(&mut self, (a, b): (usize, usize), score: f32) {
        let (root, other) = (self.root(a), self.root(b));
        self.up[root.max(other)] = root.min(other);
        for member in [a, b] {
            let best = self.scores.entry(member).or_insert(score);
            *best = best.max(score);
        }
    }

    fn groups(mut self) -> Vec<Vec<Found>> {
        let mut groups: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
        for (member, score) in std::mem::take(&mut self.scores) {
            groups.entry(self.root(member)).or_default().push(Found { slot: member as u64, score });
        }
        groups.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::half::stored;
    use super::*;

    #[test]
    fn pairs_are_found_across_blocks_and_linked() {
        let (dim, count) = (20, 700usize);
        let value = |i: usize| {
            let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ mixed >> 32) % 2000) as f32 / 1000.0 - 1.0
        };
        let mut rows: Vec<Vec<f32>> =
            (0..count).map(|row| (0..dim).map(|i| value(row * dim + i + 1)).collect()).collect();
        // A chain: its ends are less alike than its links. And a pair of which one is a hole.
        for (row, of, by) in [(300, 5, 0.2), (699, 300, 0.2), (600, 10, 0.0), (601, 11, 0.0)] {
            rows[row] = rows[of].clone();
            rows[row][row % dim] += by * dim as f32 / 10.0;
        }
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| stored(row, &mut bytes));
        let slots = Slots::new(count as u64, &[601]);
        let groups = groups(&Source::Memory(&bytes), &slots, dim, 0.985).unwrap();
        let members: Vec<Vec<u64>> =
            groups.iter().map(|group| group.iter().map(|found| found.slot).collect()).collect();
        assert_eq!(members, [vec![5, 300, 699], vec![10, 600]]);
        assert!(groups[1].iter().all(|found| (found.score - 1.0).abs() < 2e-3), "{groups:?}");
        assert!(groups[0].iter().all(|found| (0.985..0.9999).contains(&found.score)), "{groups:?}");
    }

    #[test]
    fn none_and_one_have_no_groups() {
        assert!(groups(&Source::Memory(&[]), &Slots::new(0, &[]), 4, 0.5).unwrap().is_empty());
        assert!(groups(&Source::Memory(&[0; 8]), &Slots::new(1, &[]), 4, -1.0).unwrap().is_empty());
    }
}
