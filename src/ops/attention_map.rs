//! The probabilities of attention, head by head, for people who want to see them; [`super::Attention`] itself never stores them.

use super::{Operands, Strides, operand, positive, product};

/// `y = softmax(scale·q·kᵀ)` for each of `outer` sequences and `heads` heads: `[outer, heads, q_len, kv_len]`, rows that sum to 1.
///
/// Operands: the tensors that hold q and k (they may be the same tensor).
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMap {
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
    /// Where the queries are.
    pub q: Strides,
    /// Where the keys are.
    pub k: Strides,
}

impl AttentionMap {
    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("outer", self.outer), ("heads", self.heads), ("head_dim", self.head_dim)])?;
        positive(&[("q_len", self.q_len), ("kv_len", self.kv_len)])
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        let width = product(&[self.heads, self.head_dim]);
        [(self.q, self.q_len), (self.k, self.kv_len)]
            .into_iter()
            .map(|(at, len)| Some(at.end(self.outer, len, width)))
            .collect()
    }

    pub(super) fn output_len(&self) -> usize {
        product(&[self.outer, self.heads, self.q_len, self.kv_len])
    }

    pub(super) fn flop(&self) -> f64 {
        product(&[self.outer, self.heads, self.q_len]) as f64 * self.kv_len as f64 * (2.0 * self.head_dim as f64 + 4.0)
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let (q, k) = (operand(operands, 0), operand(operands, 1));
        let d = self.head_dim;
        let mut scores = vec![0.0f64; self.kv_len];
        for (number, row) in out[..self.output_len()].chunks_exact_mut(self.kv_len).enumerate() {
            let (head, i) = (number / self.q_len % self.heads, number % self.q_len);
            let outer = number / self.q_len / self.heads;
            let at = |s: Strides, t: usize| s.offset + s.outer * outer + s.seq * t + head * d;
            let query = &q[at(self.q, i)..][..d];
            for (j, score) in scores.iter_mut().enumerate() {
                let key = &k[at(self.k, j)..][..d];
                let dot: f64 = query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                *score = dot * f64::from(self.scale);
            }
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            row.iter_mut().zip(&scores).for_each(|(y, s)| *y = ((s - max).exp() / sum) as f32);
        }
    }
}
