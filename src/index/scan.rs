//! Exact search: every vector is compared with the query, in blocks, on all threads; the best are kept in a heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

use super::dot::Query;
use super::vectors::Vectors;
use crate::error::Result;

/// Bytes that a thread reads at a time: they stay in its core's cache between reading and multiplying.
const BLOCK: usize = 256 << 10;

/// Where the vectors are read from.
pub enum Source<'a> {
    File(&'a Vectors),
    Memory(&'a [u8]),
}

impl Source<'_> {
    /// The vectors from this slot on; `room` is where those of a file are put.
    pub fn block<'b>(&'b self, slot: u64, count: usize, width: usize, room: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        match self {
            Source::Memory(bytes) => Ok(&bytes[slot as usize * width..][..count * width]),
            Source::File(vectors) => {
                room.resize(count * width, 0);
                vectors.read(slot, room)?;
                Ok(room)
            }
        }
    }
}

/// Which vectors count.
pub struct Slots {
    /// How many there are, holes among them.
    pub count: u64,
    /// A bit for each hole.
    holes: Vec<u64>,
}

impl Slots {
    pub fn new(count: u64, holes: &[u64]) -> Slots {
        let mut bits = vec![0; count.div_ceil(64) as usize];
        holes.iter().filter(|hole| **hole < count).for_each(|hole| bits[*hole as usize / 64] |= 1 << (hole % 64));
        Slots { count, holes: bits }
    }

    pub fn is_hole(&self, slot: u64) -> bool {
        self.holes[slot as usize / 64] >> (slot % 64) & 1 == 1
    }
}

/// A vector that was found, and its dot product with the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub score: f32,
    pub slot: u64,
}

impl Eq for Found {}

/// Higher scores first; of equal ones, those that were indexed first.
impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The `top` vectors with the highest dot products, of those that are `least` or more; best first.
pub fn nearest(source: &Source<'_>, slots: &Slots, query: &[f32], top: usize, least: f32) -> Result<Vec<Found>> {
    let width = 2 * query.len();
    let together = (BLOCK / width).max(1) as u64;
    let query = Query::new(query);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.min(slots.count.div_ceil(together) as usize).max(1);
    let next = AtomicU64::new(0);
    let search = || {
        let (mut best, mut room) = (Best::new(top, least), Vec::new());
        let mut scores = vec![0.0; together as usize];
        loop {
            let first = next.fetch_add(1, Ordering::Relaxed) * together;
            if first >= slots.count {
                return Ok(best);
            }
            let count = (slots.count - first).min(together) as usize;
            let block = source.block(first, count, width, &mut room)?;
            query.scores(block, &mut scores[..count]);
            for (slot, score) in (first..).zip(&scores[..count]) {
                if *score >= best.least && !slots.is_hole(slot) {
                    best.add(Found { score: *score, slot });
                }
            }
        }
    };
    let all: Result<Vec<Best>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(search)).collect();
        let mut all = vec![search()];
        all.extend(
            others.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        all.into_iter().collect()
    });
    let mut found: Vec<Found> = all?.into_iter().flat_map(|best| best.heap).map(|Reverse(found)| found).collect();
    found.sort_unstable_by_key(|found| Reverse(*found));
    found.truncate(top);
    Ok(found)
}

/// The best so far.
struct Best {
    heap: BinaryHeap<Reverse<Found>>,
    top: usize,
    /// What a score must reach to be among them.
    least: f32,
}

impl Best {
    fn new(top: usize, least: f32) -> Best {
        Best { heap: BinaryHeap::new(), top, least }
    }

    fn add(&mut self, found: Found) {
        self.heap.push(Reverse(found));
        if self.heap.len() > self.top {
            self.heap.pop();
        }
        if let Some(Reverse(worst)) = self.heap.peek().filter(|_| self.heap.len() == self.top) {
            self.least = self.least.max(worst.score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::half::{stored, widen};
    use super::*;

    #[test]
    fn the_nearest_are_those_of_a_full_sort() {
        let (dim, count) = (24, 30_000usize);
        let value = |i: usize| {
            let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ mixed >> 32) % 2000) as f32 / 1000.0 - 1.0
        };
        let mut bytes = Vec::new();
        (0..count).for_each(|row| stored(&(0..dim).map(|i| value(row * dim + i)).collect::<Vec<_>>(), &mut bytes));
        let query: Vec<f32> = (0..dim).map(|i| value(i + 77)).collect();
        let holes: Vec<u64> = (0..count as u64).filter(|slot| slot % 3 == 0).collect();
        let slots = Slots::new(count as u64, &holes);
        let mut want: Vec<Found> = Vec::new();
        for (slot, row) in (0u64..).zip(bytes.chunks_exact(2 * dim)).filter(|(slot, _)| slot % 3 != 0) {
            let values = row.as_chunks::<2>().0.iter().map(|b| widen(u16::from_le_bytes(*b)));
            want.push(Found { score: values.zip(&query).map(|(a, b)| a * b).sum(), slot });
        }
        want.sort_unstable_by_key(|found| Reverse(*found));
        for top in [1, 10, 1000] {
            let got = nearest(&Source::Memory(&bytes), &slots, &query, top, f32::NEG_INFINITY).unwrap();
            assert_eq!(got.len(), top);
            for (got, want) in got.iter().zip(&want) {
                assert!((got.score - want.score).abs() < 1e-5, "{got:?} {want:?}");
            }
        }
        let least = want[100].score;
        let some = nearest(&Source::Memory(&bytes), &slots, &query, count, least).unwrap();
        assert!((95..=105).contains(&some.len()) && some.iter().all(|found| found.score >= least));
        assert!(nearest(&Source::Memory(&[]), &Slots::new(0, &[]), &query, 5, 0.0).unwrap().is_empty());
        assert!(nearest(&Source::Memory(&bytes), &slots, &query, 0, 0.0).unwrap().is_empty());
    }
}
