//! Multi-head scaled-dot-product attention (Vaswani et al. 2017), fused: the score matrix is never stored.

use super::{Operands, operand, positive, product};

/// Where the values of q, k, v or the output are in a tensor, counted in elements: `offset + outer·o + seq·t + head·head_dim + d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    /// First element (0 for q, D for k, 2·D for v of a packed `[B, T, 3·D]`).
    pub offset: usize,
    /// Step from one independent sequence to the next.
    pub outer: usize,
    /// Step from one token to the next.
    pub seq: usize,
}

impl Strides {
    pub(super) fn end(self, outer: usize, seq: usize, width: usize) -> usize {
        let steps =
            [(self.outer, outer), (self.seq, seq)].map(|(step, count)| product(&[step, count.saturating_sub(1)]));
        self.offset.saturating_add(steps[0]).saturating_add(steps[1]).saturating_add(width)
    }

    /// Whether `outer` sequences of `seq` rows of `width` lie apart from each other.
    fn are_apart(self, outer: usize, seq: usize, width: usize) -> bool {
        let nested = |(inner, inners): (usize, usize), (step, steps): (usize, usize)| {
            let row = product(&[inner, inners.saturating_sub(1)]).saturating_add(width);
            (inners == 1 || inner >= width) && (steps == 1 || step >= row)
        };
        let (seq, outer) = ((self.seq, seq), (self.outer, outer));
        nested(seq, outer) || nested(outer, seq)
    }
}

/// `o = post_scale·softmax(scale·q·kᵀ)·v` for each of `outer` sequences and `heads` heads. If it is `causal`, query i is compared
/// with keys 0 to i only.
///
/// Operands: the tensors that hold q, k and v (they may be the same tensor). Output: the heads side by side, placed as `o` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Number of independent sequences; usually images.
    pub outer: usize,
    /// Number of heads (H).
    pub heads: usize,
    /// Width of a head (d).
    pub head_dim: usize,
    /// Number of queries in a sequence.
    pub q_len: usize,
    /// Number of keys in a sequence.
    pub kv_len: usize,
    /// Factor applied to the scores before the softmax; usually 1/√d.
    pub scale: f32,
    /// Factor applied to the probabilities after the softmax; usually 1.
    pub post_scale: f32,
    /// Whether a query sees only the keys up to its own position. There must then be as many keys as queries.
    pub causal: bool,
    /// Where the queries are.
    pub q: Strides,
    /// Where the keys are.
    pub k: Strides,
    /// Where the values are.
    pub v: Strides,
    /// Where the output goes.
    pub o: Strides,
}

impl Attention {
    /// Self-attention over a packed `[outer, len, 3·heads·head_dim]`, output `[outer, len, heads·head_dim]`.
    #[must_use]
    pub fn packed(outer: usize, len: usize, heads: usize, head_dim: usize, scale: f32) -> Self {
        let width = heads * head_dim;
        let part = |i: usize| Strides { offset: i * width, outer: len * 3 * width, seq: 3 * width };
        let o = Strides { offset: 0, outer: len * width, seq: width };
        let (q_len, kv_len, post_scale, causal) = (len, len, 1.0, false);
        let (q, k, v) = (part(0), part(1), part(2));
        Attention { outer, heads, head_dim, q_len, kv_len, scale, post_scale, causal, q, k, v, o }
    }

    /// Heads side by side.
    fn width(&self) -> usize {
        product(&[self.heads, self.head_dim])
    }

    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("outer", self.outer), ("heads", self.heads), ("head_dim", self.head_dim)])?;
        positive(&[("q_len", self.q_len), ("kv_len", self.kv_len)])?;
        if self.causal && self.q_len != self.kv_len {
            return Err(format!("causal, with {} queries and {} keys", self.q_len, self.kv_len));
        }
        if !self.o.are_apart(self.outer, self.q_len, self.width()) {
            return Err(format!("rows of the output overlap: {:?}", self.o));
        }
        Ok(())
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        let width = self.width();
        [(self.q, self.q_len), (self.k, self.kv_len), (self.v, self.kv_len)]
            .into_iter()
            .map(|(at, len)| Some(at.end(self.outer, len, width)))
            .collect()
    }

    pub(super) fn output_len(&self) -> usize {
        self.o.end(self.outer, self.q_len, self.width())
    }

    pub(super) fn flop(&self) -> f64 {
        let keys = if self.causal { (self.kv_len as f64 + 1.0) / 2.0 } else { self.kv_len as f64 };
        product(&[self.outer, self.heads, self.q_len]) as f64 * keys * (4.0 * self.head_dim as f64 + 4.0)
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let (q, k, v) = (operand(operands, 0), operand(operands, 1), operand(operands, 2));
        let d = self.head_dim;
        let mut scores = vec![0.0f64; self.kv_len];
        for outer in 0..self.outer {
            for head in 0..self.heads {
                let at = |s: Strides, t: usize| s.offset + s.outer * outer + s.seq * t + head * d;
                for i in 0..self.q_len {
                    let query = &q[at(self.q, i)..][..d];
                    let scores = &mut scores[..if self.causal { i + 1 } else { self.kv_len }];
                    for (j, score) in scores.iter_mut().enumerate() {
                        let key = &k[at(self.k, j)..][..d];
                        let dot: f64 = query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        *score = dot * f64::from(self.scale);
                    }
                    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
                    let row = &mut out[at(self.o, i)..][..d];
                    for (e, o) in row.iter_mut().enumerate() {
                        let mixed: f64 = scores
                            .iter()
                            .enumerate()
                            .map(|(j, s)| (s - max).exp() * f64::from(v[at(self.v, j) + e]))
                            .sum();
                        *o = (mixed / sum * f64::from(self.post_scale)) as f32;
                    }
                }
            }
        }
    }
}
