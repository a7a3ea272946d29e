//! Pooling tokens into one vector per image.

use super::{Operands, operand};

/// Which tokens make the pooled vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// One token.
    Token(usize),
    /// The mean of the tokens from this one on.
    Mean(usize),
}

/// Operand: `x [B, T, D]`; output `[B, D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// B.
    pub batch: usize,
    /// T.
    pub tokens: usize,
    /// D.
    pub width: usize,
    /// Token or mean.
    pub kind: PoolKind,
}

impl Pool {
    /// The range of tokens read, as (first, count).
    #[must_use]
    pub fn range(&self) -> (usize, usize) {
        match self.kind {
            PoolKind::Token(i) => (i, 1),
            PoolKind::Mean(from) => (from, self.tokens - from),
        }
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![Some(self.batch * self.tokens * self.width)]
    }

    pub(super) fn output_len(&self) -> usize {
        self.batch * self.width
    }

    pub(super) fn flop(&self) -> f64 {
        (self.batch * self.range().1 * self.width) as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let x = operand(operands, 0);
        let (first, count) = self.range();
        for (at, y) in out.iter_mut().enumerate().take(self.output_len()) {
            let (b, d) = (at / self.width, at % self.width);
            let value = |t: usize| f64::from(x[(b * self.tokens + t) * self.width + d]);
            *y = ((first..first + count).map(value).sum::<f64>() / count as f64) as f32;
        }
    }
}
