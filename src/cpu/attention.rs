//! Fused attention: per head and block of queries, keys and values stream past in blocks with an online softmax
//! (Milakov and Gimelshein 2018; Dao et al. 2022), so that no score matrix is ever stored.

use rayon::prelude::*;

use super::math::{exp, vectorized};
use crate::ops::{Attention, Data, Operands, Strides};

/// Queries of one task.
const Q_BLOCK: usize = 64;
/// Keys of one step.
const KV_BLOCK: usize = 64;
/// Rows and columns of the register tile.
const ROWS: usize = 4;
const COLS: usize = 16;

pub fn run(op: &Attention, operands: &Operands<'_>, out: &mut [f32]) {
    let [q, k, v] = [0, 1, 2].map(|i| operands[i].map_or(&[][..], Data::f32));
    let d = op.head_dim;
    // One contiguous [T, d] block per (sequence, head), so that tasks write disjoint memory; put in place below.
    let mut heads = vec![0.0f32; op.outer * op.heads * op.q_len * d];
    heads.par_chunks_mut(op.q_len * d).enumerate().for_each(|(which, head_out)| {
        let (outer, head) = (which / op.heads, which % op.heads);
        let at = |s: Strides| s.offset + s.outer * outer + head * d;
        head_out.par_chunks_mut(Q_BLOCK * d).enumerate().for_each(|(block, out)| {
            let queries = &q[at(op.q) + block * Q_BLOCK * op.q.seq..];
            vectorized(
                #[inline(always)]
                || query_block(op, queries, &k[at(op.k)..], &v[at(op.v)..], out),
            );
        });
    });
    for (which, head_out) in heads.chunks_exact(op.q_len * d).enumerate() {
        let (outer, head) = (which / op.heads, which % op.heads);
        for (t, row) in head_out.chunks_exact(d).enumerate() {
            out[op.o.offset + op.o.outer * outer + op.o.seq * t + head * d..][..d].copy_from_slice(row);
        }
    }
}

/// One block of queries against all keys; `out` is `[rows, d]`.
#[inline(always)]
fn query_block(op: &Attention, q: &[f32], k: &[f32], v: &[f32], out: &mut [f32]) {
    let d = op.head_dim;
    let width = d.next_multiple_of(COLS);
    let rows = out.len() / d;
    let padded_rows = rows.next_multiple_of(ROWS);
    let mut queries = vec![0.0f32; padded_rows * d];
    for (i, row) in queries.chunks_exact_mut(d).enumerate().take(rows) {
        row.iter_mut().zip(&q[i * op.q.seq..]).for_each(|(y, q)| *y = q * op.scale);
    }
    let mut keys = vec![0.0f32; d * KV_BLOCK];
    let mut values = vec![0.0f32; KV_BLOCK * width];
    let mut scores = vec![0.0f32; padded_rows * KV_BLOCK];
    let mut sums = vec![0.0f32; padded_rows * width];
    let mut max = vec![f32::MIN; padded_rows];
    let mut norm = vec![0.0f32; padded_rows];

    for first in (0..op.kv_len).step_by(KV_BLOCK) {
        let count = KV_BLOCK.min(op.kv_len - first);
        for j in 0..count {
            let key = &k[(first + j) * op.k.seq..][..d];
            key.iter().enumerate().for_each(|(e, x)| keys[e * KV_BLOCK + j] = *x);
            values[j * width..][..d].copy_from_slice(&v[(first + j) * op.v.seq..][..d]);
        }
        for i in (0..padded_rows).step_by(ROWS) {
            for j in (0..count).step_by(COLS) {
                let tile = &mut scores[i * KV_BLOCK + j..];
                multiply_tile(&queries[i * d..], d, &keys[j..], KV_BLOCK, d, tile, KV_BLOCK, false);
            }
        }
        for i in 0..padded_rows {
            let row = &mut scores[i * KV_BLOCK..][..count];
            let block_max = row.iter().copied().fold(f32::MIN, f32::max);
            let new_max = max[i].max(block_max);
            let shrink = exp(max[i] - new_max);
            max[i] = new_max;
            row.iter_mut().for_each(|s| *s = exp(*s - new_max));
            norm[i] = norm[i] * shrink + super::math::sum_by(row, |p| p);
            sums[i * width..][..width].iter_mut().for_each(|y| *y *= shrink);
        }
        for i in (0..padded_rows).step_by(ROWS) {
            for e in (0..width).step_by(COLS) {
                let tile = &mut sums[i * width + e..];
                multiply_tile(&scores[i * KV_BLOCK..], KV_BLOCK, &values[e..], width, count, tile, width, true);
            }
        }
    }
    for (i, row) in out.chunks_exact_mut(d).enumerate() {
        let scale = op.post_scale / norm[i];
        row.iter_mut().zip(&sums[i * width..]).for_each(|(y, s)| *y = s * scale);
    }
}

/// `c[4, 16] (+)= a[4, k]·b[k, 16]`, each with its row stride.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "three matrices with their strides")]
fn multiply_tile(a: &[f32], lda: usize, b: &[f32], ldb: usize, k: usize, c: &mut [f32], ldc: usize, add: bool) {
    let mut acc = [[0.0f32; COLS]; ROWS];
    for p in 0..k {
        let Some(row) = b[p * ldb..].first_chunk::<COLS>() else { break };
        for (i, acc) in acc.iter_mut().enumerate() {
            let x = a[i * lda + p];
            acc.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        for (y, sum) in c[i * ldc..][..COLS].iter_mut().zip(acc) {
            *y = if add { *y + sum } else { *sum };
        }
    }
}
