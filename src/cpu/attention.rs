//! Fused attention: for each head and block of queries, blocks of keys and values are processed one after another with an online softmax
//! (Milakov and Gimelshein 2018; Dao et al. 2022), so that no score matrix is ever stored.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::math::{exp, sum_by};
use crate::ops::{Attention, Data, Operands, Strides};

/// Number of queries of one task; a multiple of `ROWS`.
const Q_BLOCK: usize = 66;
/// Number of keys of one step; a multiple of `WIDEST`.
const KV_BLOCK: usize = 64;
/// Rows of the register tile; it is two vectors wide, at most `WIDEST`.
const ROWS: usize = 6;
const WIDEST: usize = 32;
const _: () = assert!(KV_BLOCK.is_multiple_of(WIDEST) && Q_BLOCK.is_multiple_of(ROWS));

pub fn run(op: &Attention, operands: &Operands<'_>, out: &mut [f32]) {
    let [q, k, v] = [0, 1, 2].map(|i| operands[i].map_or(&[][..], Data::f32));
    let d = op.head_dim;
    // Each task writes its own contiguous block [T, d] for a sequence and a head. The blocks are copied to their places below.
    let mut heads = vec![0.0f32; op.outer * op.heads * op.q_len * d];
    heads.par_chunks_mut(op.q_len * d).enumerate().for_each(|(which, head_out)| {
        let (outer, head) = (which / op.heads, which % op.heads);
        let at = |s: Strides| s.offset + s.outer * outer + head * d;
        head_out.par_chunks_mut(Q_BLOCK * d).enumerate().for_each(|(block, out)| {
            let queries = &q[at(op.q) + block * Q_BLOCK * op.q.seq..];
            let (k, v) = (&k[at(op.k)..], &v[at(op.v)..]);
            pulp::Arch::new().dispatch(Block { op, first_query: block * Q_BLOCK, q: queries, k, v, out });
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
struct Block<'a> {
    op: &'a Attention,
    first_query: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Block { op, first_query, q, k, v, out } = self;
        let d = op.head_dim;
        let cols = 2 * S::F32_LANES;
        let width = d.next_multiple_of(cols);
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
        // −∞, not the smallest finite value: if all scores are −∞, the softmax is undefined, and the result must show that (NaN).
        let mut max = vec![f32::NEG_INFINITY; padded_rows];
        let mut norm = vec![0.0f32; padded_rows];

        // Keys that at least one query of the block sees.
        let kv_len = if op.causal { op.kv_len.min(first_query + rows) } else { op.kv_len };
        for first in (0..kv_len).step_by(KV_BLOCK) {
            let count = KV_BLOCK.min(kv_len - first);
            for j in 0..count {
                let key = &k[(first + j) * op.k.seq..][..d];
                key.iter().enumerate().for_each(|(e, x)| keys[e * KV_BLOCK + j] = *x);
                values[j * width..][..d].copy_from_slice(&v[(first + j) * op.v.seq..][..d]);
            }
            for i in (0..padded_rows).step_by(ROWS) {
                for j in (0..count).step_by(cols) {
                    let tile = &mut scores[i * KV_BLOCK + j..];
                    multiply::<S, false>(simd, (&queries[i * d..], d), (&keys[j..], KV_BLOCK), d, (tile, KV_BLOCK));
                }
            }
            for i in 0..padded_rows {
                let seen = if op.causal { (first_query + i + 1).saturating_sub(first).min(count) } else { count };
                let (row, unseen) = scores[i * KV_BLOCK..][..count].split_at_mut(seen);
                unseen.fill(0.0);
                if row.is_empty() {
                    continue;
                }
                let new_max = max_of(row).max(max[i]);
                let shrink = exp(max[i] - new_max);
                max[i] = new_max;
                row.iter_mut().for_each(|s| *s = exp(*s - new_max));
                norm[i] = norm[i] * shrink + sum_by(row, |p| p);
                sums[i * width..][..width].iter_mut().for_each(|y| *y *= shrink);
            }
            for i in (0..padded_rows).step_by(ROWS) {
                for e in (0..width).step_by(cols) {
                    let tile = &mut sums[i * width + e..];
                    let (probabilities, values) = ((&scores[i * KV_BLOCK..], KV_BLOCK), (&values[e..], width));
                    multiply::<S, true>(simd, probabilities, values, count, (tile, width));
                }
            }
        }
        for (i, row) in out.chunks_exact_mut(d).enumerate() {
            let scale = op.post_scale / norm[i];
            row.iter_mut().zip(&sums[i * width..]).for_each(|(y, s)| *y = s * scale);
        }
    }
}

/// The largest value. It keeps 16 running maxima, so that the compiler can vectorise it.
#[inline(always)]
fn max_of(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, v)| *lane = if *v > *lane { *v } else { *lane });
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `c[ROWS, two vectors] (+)= a[ROWS, k]·b[k, two vectors]`, each with its row stride.
#[inline(always)]
fn multiply<S: Simd, const ADD: bool>(
    simd: S,
    (a, lda): (&[f32], usize),
    (b, ldb): (&[f32], usize),
    k: usize,
    (c, ldc): (&mut [f32], usize),
) {
    let cols = 2 * S::F32_LANES;
    let rows: [&[f32]; ROWS] = std::array::from_fn(|i| &a[i * lda..][..k]);
    let mut acc = [[simd.splat_f32s(0.0); 2]; ROWS];
    for p in 0..k {
        let (row, _) = S::as_simd_f32s(&b[p * ldb..][..cols]);
        for (acc, x) in acc.iter_mut().zip(&rows) {
            let x = simd.splat_f32s(x[p]);
            acc[0] = simd.mul_add_e_f32s(x, row[0], acc[0]);
            acc[1] = simd.mul_add_e_f32s(x, row[1], acc[1]);
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        let (c, _) = S::as_mut_simd_f32s(&mut c[i * ldc..][..cols]);
        for (c, sum) in c.iter_mut().zip(acc) {
            *c = if ADD { simd.add_f32s(*c, *sum) } else { *sum };
        }
    }
}
