//! Fused attention: for each head and block of queries, blocks of keys and values are processed one after another with an online softmax
//! (Milakov and Gimelshein 2018; Dao et al. 2022), so that no score matrix is ever stored.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::math::Math;
use crate::ops::{Attention, Data, Operands, Strides};

/// The most queries of one task, and the fewest where there are too few tasks for all threads.
const MOST_QUERIES: usize = 256;
const FEWEST_QUERIES: usize = 32;
/// Number of keys of one step; a multiple of `ROWS`.
const KEYS: usize = 66;
/// Rows of the register tiles. They are four vectors wide where there are 32 registers, else two.
const ROWS: usize = 6;
/// Queries whose softmax is computed together: a loop over so many values becomes vector instructions.
const LANES: usize = 16;
const _: () = assert!(KEYS.is_multiple_of(ROWS));

pub fn run(op: &Attention, operands: &Operands<'_>, scratch: &mut Vec<f32>, out: &mut [f32]) {
    let [q, k, v] = [0, 1, 2].map(|i| operands[i].map_or(&[][..], Data::f32));
    let d = op.head_dim;
    // Each task writes its own contiguous block [T, d] for a sequence and a head. The blocks are copied to their places below.
    let len = op.outer * op.heads * op.q_len * d;
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let heads = &mut scratch[..len];
    let most = queries_at_once(op);
    heads.par_chunks_mut(op.q_len * d).enumerate().for_each(|(which, head_out)| {
        let (outer, head) = (which / op.heads, which % op.heads);
        let at = |s: Strides| s.offset + s.outer * outer + head * d;
        head_out.par_chunks_mut(most * d).enumerate().for_each(|(block, out)| {
            let queries = &q[at(op.q) + block * most * op.q.seq..];
            let (k, v) = (&k[at(op.k)..], &v[at(op.v)..]);
            let queries = Queries { op, first_query: block * most, q: queries, k, v, out };
            pulp::Arch::new().dispatch(queries);
        });
    });
    let heads = &*heads;
    let put = |(i, row): (usize, &mut [f32])| {
        let (outer, t) = (i / op.q_len, i % op.q_len);
        for (head, to) in row[..op.heads * d].chunks_exact_mut(d).enumerate() {
            to.copy_from_slice(&heads[((outer * op.heads + head) * op.q_len + t) * d..][..d]);
        }
    };
    // Rows that follow each other at equal distances can be written by all threads.
    let out = &mut out[op.o.offset..];
    if op.outer == 1 || op.o.outer == op.o.seq * op.q_len {
        out.par_chunks_mut(op.o.seq.max(op.heads * d))
            .take(op.outer * op.q_len)
            .enumerate()
            .with_min_len(32)
            .for_each(put);
    } else {
        for i in 0..op.outer * op.q_len {
            put((i, &mut out[op.o.outer * (i / op.q_len) + op.o.seq * (i % op.q_len)..]));
        }
    }
}

/// How many queries a task has: a head's, divided evenly, so that there are a few tasks for every thread. Each query is computed by
/// itself, so that this changes no result.
fn queries_at_once(op: &Attention) -> usize {
    let wanted = (2 * rayon::current_num_threads()).div_ceil((op.outer * op.heads).max(1));
    let blocks = op.q_len.div_ceil(MOST_QUERIES).max(wanted.min(op.q_len / FEWEST_QUERIES)).max(1);
    op.q_len.div_ceil(blocks).max(1)
}

/// Some queries of a head against all keys; `out` is `[queries, d]`.
struct Queries<'a> {
    op: &'a Attention,
    first_query: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Queries<'_> {
    type Output = ();

    /// Scores lie as `[keys][queries]`: vectors are of queries, so that a softmax needs no sums across a vector, and the products
    /// with values read what belongs together from one place.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Queries { op, first_query, q, k, v, out } = self;
        let d = op.head_dim;
        let width = d.next_multiple_of(S::F32_LANES);
        let rows = out.len() / d;
        let padded = rows.next_multiple_of(LANES).next_multiple_of(S::F32_LANES);
        let tall = rows.next_multiple_of(ROWS);
        // Room for the last tile of rows, which may reach beyond the padding.
        let stride = padded.max(tall);
        let mut queries = vec![0.0f32; d * padded];
        for (i, query) in q.chunks(op.q.seq).take(rows).enumerate() {
            queries[i..].iter_mut().step_by(padded).zip(&query[..d]).for_each(|(y, q)| *y = q * op.scale);
        }
        let mut values = vec![0.0f32; KEYS * width];
        let mut scores = vec![0.0f32; KEYS * stride];
        let mut sums = vec![0.0f32; tall * width];
        // −∞, not the smallest finite value: if all scores are −∞, the softmax is undefined, and the result must show that (NaN).
        let mut max = vec![f32::NEG_INFINITY; padded];
        let mut norm = vec![0.0f32; padded];
        let mut shrink = vec![0.0f32; stride];

        // Keys that at least one query of the block sees.
        let kv_len = if op.causal { op.kv_len.min(first_query + rows) } else { op.kv_len };
        for first in (0..kv_len).step_by(KEYS) {
            let count = KEYS.min(kv_len - first);
            let key = |j: usize| &k[(first + j.min(count - 1)) * op.k.seq..][..d];
            for j in (0..count).step_by(ROWS) {
                let keys: [&[f32]; ROWS] = std::array::from_fn(|i| key(j + i));
                let tile = &mut scores[j * stride..];
                all_columns(simd, padded, |at, columns| {
                    let x = |p: usize| keys.map(|key| key[p]);
                    columns.product(simd, d, x, (&queries[at..], padded), |i, v, sum| {
                        let to = &mut tile[i * stride + at + v * S::F32_LANES..][..S::F32_LANES];
                        S::as_mut_simd_f32s(to).0[0] = sum;
                    });
                });
            }
            for (at, (max, norm)) in (0..).step_by(LANES).zip(max.chunks_mut(LANES).zip(norm.chunks_mut(LANES))) {
                let queries =
                    Softmax { scores: &mut scores[at..], stride, count, max, norm, shrink: &mut shrink[at..] };
                match op.causal && first + count > first_query + at + 1 {
                    true => queries.step(Math::of(simd), |i, j| first + j <= first_query + at + i),
                    false => queries.step(Math::of(simd), |_, _| true),
                }
            }
            // Values are read where they are, if they are whole vectors.
            let values = if d == width {
                (&v[first * op.v.seq..], op.v.seq)
            } else {
                for j in 0..count {
                    values[j * width..][..d].copy_from_slice(&v[(first + j) * op.v.seq..][..d]);
                }
                (&values[..], width)
            };
            for i in (0..tall).step_by(ROWS) {
                let (tile, shrink) = (&mut sums[i * width..], &shrink[i..]);
                all_columns(simd, width, |at, columns| {
                    let x = |p: usize| *scores[p * stride + i..].first_chunk::<ROWS>().unwrap_or(&[0.0; ROWS]);
                    columns.product(simd, count, x, (&values.0[at..], values.1), |row, v, sum| {
                        let to = &mut tile[row * width + at + v * S::F32_LANES..][..S::F32_LANES];
                        let to = &mut S::as_mut_simd_f32s(to).0[0];
                        *to = simd.mul_add_e_f32s(*to, simd.splat_f32s(shrink[row]), sum);
                    });
                });
            }
        }
        for (i, row) in out.chunks_exact_mut(d).enumerate() {
            let scale = op.post_scale / norm[i];
            row.iter_mut().zip(&sums[i * width..]).for_each(|(y, s)| *y = s * scale);
        }
    }
}

/// The step of an online softmax over some keys, for `LANES` queries.
struct Softmax<'a> {
    /// Scores `[keys][queries]`, which become the probabilities before they are divided by their sum.
    scores: &'a mut [f32],
    stride: usize,
    count: usize,
    /// Of each query: the largest score so far, and the sum of its probabilities.
    max: &'a mut [f32],
    norm: &'a mut [f32],
    /// By what the sums of earlier keys are multiplied.
    shrink: &'a mut [f32],
}

impl Softmax<'_> {
    /// `sees(i, j)`: whether query `i` attends to key `j`.
    #[inline(always)]
    fn step(self, math: Math, sees: impl Fn(usize, usize) -> bool) {
        let Softmax { scores, stride, count, max, norm, shrink } = self;
        let (Some(max), Some(norm), Some(shrink)) =
            (max.first_chunk_mut::<LANES>(), norm.first_chunk_mut::<LANES>(), shrink.first_chunk_mut::<LANES>())
        else {
            return;
        };
        let mut largest = *max;
        for (j, row) in scores.chunks(stride).take(count).enumerate() {
            for (i, (largest, score)) in largest.iter_mut().zip(&row[..LANES]).enumerate() {
                *largest = if sees(i, j) && *score > *largest { *score } else { *largest };
            }
        }
        let mut sum = [0.0f32; LANES];
        for (j, row) in scores.chunks_mut(stride).take(count).enumerate() {
            for (i, (score, sum)) in row[..LANES].iter_mut().zip(&mut sum).enumerate() {
                *score = if sees(i, j) { math.exp(*score - largest[i]) } else { 0.0 };
                *sum += *score;
            }
        }
        for i in 0..LANES {
            shrink[i] = math.exp(max[i] - largest[i]);
            norm[i] = norm[i] * shrink[i] + sum[i];
            max[i] = largest[i];
        }
    }
}

/// Calls `tile` with the first column and the width of each tile that covers `len` columns, as wide tiles as registers allow.
#[inline(always)]
fn all_columns<S: Simd>(_: S, len: usize, mut tile: impl FnMut(usize, Columns)) {
    let most = if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
    let mut at = 0;
    while at < len {
        let vectors = ((len - at) / S::F32_LANES).min(most);
        tile(at, Columns(vectors));
        at += vectors * S::F32_LANES;
    }
}

/// The width of a register tile, in vectors.
#[derive(Clone, Copy)]
struct Columns(usize);

impl Columns {
    /// `Σ x(p)[ROWS]·b[p][columns]` over `k` values of p; `store` is given each row, vector and sum.
    #[inline(always)]
    fn product<S: Simd>(
        self,
        simd: S,
        k: usize,
        x: impl Fn(usize) -> [f32; ROWS],
        b: (&[f32], usize),
        mut store: impl FnMut(usize, usize, S::f32s),
    ) {
        macro_rules! tile {
            ($vectors:literal) => {
                for (i, row) in sums::<S, $vectors>(simd, k, &x, b).into_iter().enumerate() {
                    row.into_iter().enumerate().for_each(|(v, sum)| store(i, v, sum));
                }
            };
        }
        match self.0 {
            1 => tile!(1),
            2 => tile!(2),
            3 => tile!(3),
            _ => tile!(4),
        }
    }
}

#[inline(always)]
fn sums<S: Simd, const V: usize>(
    simd: S,
    k: usize,
    x: &impl Fn(usize) -> [f32; ROWS],
    (b, ldb): (&[f32], usize),
) -> [[S::f32s; V]; ROWS] {
    let mut acc = [[simd.splat_f32s(0.0); V]; ROWS];
    for p in 0..k {
        let (row, _) = S::as_simd_f32s(&b[p * ldb..][..V * S::F32_LANES]);
        let row: [S::f32s; V] = std::array::from_fn(|v| row[v]);
        for (acc, x) in acc.iter_mut().zip(x(p)) {
            let x = simd.splat_f32s(x);
            acc.iter_mut().zip(row).for_each(|(acc, b)| *acc = simd.mul_add_e_f32s(x, b, *acc));
        }
    }
    acc
}
