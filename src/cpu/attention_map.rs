//! The probabilities of attention; heads are computed by several threads.

use rayon::prelude::*;

use super::math::{sum_by, vectorized};
use crate::ops::{AttentionMap, Data, Operands, Strides};

pub fn run(op: &AttentionMap, operands: &Operands<'_>, out: &mut [f32]) {
    let [q, k] = [0, 1].map(|i| operands[i].map_or(&[][..], Data::f32));
    let (d, keys) = (op.head_dim, op.kv_len);
    let heads = out[..op.outer * op.heads * op.q_len * keys].par_chunks_mut(op.q_len * keys);
    heads.enumerate().for_each(|(which, map)| {
        let (outer, head) = (which / op.heads, which % op.heads);
        let at = |s: Strides| s.offset + s.outer * outer + head * d;
        // Keys by column, so that the scores of a query are sums of whole rows.
        let mut columns = vec![0.0f32; d * keys];
        for j in 0..keys {
            let key = &k[at(op.k) + j * op.k.seq..][..d];
            key.iter().enumerate().for_each(|(e, value)| columns[e * keys + j] = *value);
        }
        vectorized(
            #[inline(always)]
            |math| {
                for (i, row) in map.chunks_exact_mut(keys).enumerate() {
                    row.fill(0.0);
                    let query = &q[at(op.q) + i * op.q.seq..][..d];
                    for (x, column) in query.iter().zip(columns.chunks_exact(keys)) {
                        let x = x * op.scale;
                        row.iter_mut().zip(column).for_each(|(score, key)| *score += x * key);
                    }
                    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    // A loop, so that `exp` is compiled within it: a closure may become a function for any processor.
                    for score in &mut *row {
                        *score = math.exp(*score - max);
                    }
                    let sum = sum_by(row, |p| p);
                    row.iter_mut().for_each(|p| *p /= sum);
                }
            },
        );
    });
}
