//! Pooling tokens into one vector per image.

use serde::{Deserialize, Serialize};

use super::{Operands, operand, positive, product};

/// Which tokens make the pooled vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// One token.
    Token(usize),
    /// The mean of the tokens from this one on.
    Mean(usize),
    /// The largest value of the tokens from this one on, in each channel.
    Max(usize),
    /// Half the sum of the largest value and the mean (timm's `avgmax`).
    AvgMax(usize),
}

/// The larger of two values, or NaN if one of them is NaN, as in PyTorch (`f64::max` would ignore the NaN).
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

impl PoolKind {
    /// The first token read.
    #[must_use]
    pub fn first(self) -> usize {
        match self {
            PoolKind::Token(i) | PoolKind::Mean(i) | PoolKind::Max(i) | PoolKind::AvgMax(i) => i,
        }
    }

    /// The same pooling, starting at another token. [`PoolKind::Token`] becomes that token.
    #[must_use]
    pub fn starting_at(self, first: usize) -> PoolKind {
        match self {
            PoolKind::Token(i) => PoolKind::Token(i),
            PoolKind::Mean(_) => PoolKind::Mean(first),
            PoolKind::Max(_) => PoolKind::Max(first),
            PoolKind::AvgMax(_) => PoolKind::AvgMax(first),
        }
    }

    /// The factors of the mean and of the maximum in the result.
    #[must_use]
    pub fn shares(self) -> (f32, f32) {
        match self {
            PoolKind::Token(_) | PoolKind::Mean(_) => (1.0, 0.0),
            PoolKind::Max(_) => (0.0, 1.0),
            PoolKind::AvgMax(_) => (0.5, 0.5),
        }
    }
}

/// Operand: `x [B, T, D]`; output `[B, ld]`, of which columns `col..col + D` are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Number of images (B).
    pub batch: usize,
    /// Number of tokens (T).
    pub tokens: usize,
    /// Number of channels (D).
    pub width: usize,
    /// Which tokens, and how.
    pub kind: PoolKind,
    /// First column of the output.
    pub col: usize,
    /// Number of columns of the output tensor.
    pub ld: usize,
}

impl Pool {
    /// Pools `[batch, tokens, width]` to `[batch, width]`.
    #[must_use]
    pub fn new(batch: usize, tokens: usize, width: usize, kind: PoolKind) -> Self {
        Pool { batch, tokens, width, kind, col: 0, ld: width }
    }

    /// The range of tokens read, as (first, count).
    #[must_use]
    pub fn range(&self) -> (usize, usize) {
        match self.kind {
            PoolKind::Token(i) => (i, 1),
            kind => (kind.first(), self.tokens.saturating_sub(kind.first())),
        }
    }

    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("batch", self.batch), ("tokens", self.tokens), ("width", self.width)])?;
        if self.kind.first() >= self.tokens {
            return Err(format!("token {} of {} is pooled", self.kind.first(), self.tokens));
        }
        if self.col.checked_add(self.width).is_none_or(|end| end > self.ld) {
            return Err(format!("columns {}.. and {} more pass a row of {}", self.col, self.width, self.ld));
        }
        Ok(())
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![Some(product(&[self.batch, self.tokens, self.width]))]
    }

    pub(super) fn output_len(&self) -> usize {
        product(&[self.batch, self.ld])
    }

    pub(super) fn flop(&self) -> f64 {
        product(&[self.batch, self.range().1, self.width]) as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let x = operand(operands, 0);
        let (first, count) = self.range();
        let (of_mean, of_max) = self.kind.shares();
        for at in 0..self.batch * self.width {
            let (b, d) = (at / self.width, at % self.width);
            let value = |t: usize| f64::from(x[(b * self.tokens + t) * self.width + d]);
            let mean = (first..first + count).map(value).sum::<f64>() / count as f64;
            let max = (first..first + count).map(value).fold(f64::NEG_INFINITY, larger);
            out[b * self.ld + self.col + d] = match (of_mean, of_max) {
                (_, 0.0) => mean,
                (of_mean, of_max) => f64::from(of_mean) * mean + f64::from(of_max) * max,
            } as f32;
        }
    }
}
