//! `y = residual + gamma ⊙ act(x·Wᵀ + bias)`: a linear layer with activation, layer scale and residual. Every matrix product with a weight is one.

use super::{Activation, Operands, operand, positive, product};

/// A linear layer over rows.
///
/// Operands: `x [·, k]`, `weight [n, k]`, `bias [n]?`, `gamma [n]?` (layer scale), `residual [·, ld]?`; output `[·, ld]`.
/// `m` rows are read from `x_row` on and written from `y_row` on, into columns `y_col..y_col + n` of rows `ld` wide, so
/// that a product too large for one binding can be cut by rows or by output columns. The residual is read where the
/// output is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Number of rows of this piece.
    pub m: usize,
    /// Number of output columns of this piece.
    pub n: usize,
    /// Length of the sums: columns of `x` and of the weight.
    pub k: usize,
    /// Activation, applied before `gamma`.
    pub act: Activation,
    /// Whether there is a bias (operand 2).
    pub bias: bool,
    /// Whether there is a layer scale `gamma` (operand 3).
    pub gamma: bool,
    /// Whether a residual is added (operand 4).
    pub residual: bool,
    /// First row of `x`.
    pub x_row: usize,
    /// First row of the output (and residual).
    pub y_row: usize,
    /// First column of the output (and residual).
    pub y_col: usize,
    /// Number of columns of the whole output tensor.
    pub ld: usize,
}

impl Linear {
    /// A layer from `k` to `n` columns for `m` rows, not split, without bias, activation, layer scale or residual.
    #[must_use]
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        let act = Activation::None;
        Linear { m, n, k, act, bias: false, gamma: false, residual: false, x_row: 0, y_row: 0, y_col: 0, ld: n }
    }

    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("m", self.m), ("n", self.n), ("k", self.k)])?;
        if self.y_col.checked_add(self.n).is_none_or(|end| end > self.ld) {
            return Err(format!("columns {}.. and {} more pass a row of {}", self.y_col, self.n, self.ld));
        }
        Ok(())
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![
            Some(product(&[self.x_row.saturating_add(self.m), self.k])),
            Some(product(&[self.n, self.k])),
            self.bias.then_some(self.n),
            self.gamma.then_some(self.n),
            self.residual.then_some(self.output_len()),
        ]
    }

    pub(super) fn output_len(&self) -> usize {
        product(&[self.y_row.saturating_add(self.m), self.ld])
    }

    pub(super) fn flop(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let (x, w) = (operand(operands, 0), operand(operands, 1));
        let (bias, gamma, residual) = (operand(operands, 2), operand(operands, 3), operand(operands, 4));
        for i in 0..self.m {
            let row = &x[(self.x_row + i) * self.k..][..self.k];
            for j in 0..self.n {
                let weight = &w[j * self.k..][..self.k];
                let mut sum: f64 = row.iter().zip(weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                if self.bias {
                    sum += f64::from(bias[j]);
                }
                let mut y = self.act.apply(sum as f32);
                if self.gamma {
                    y *= gamma[j];
                }
                let at = (self.y_row + i) * self.ld + self.y_col + j;
                out[at] = if self.residual { residual[at] + y } else { y };
            }
        }
    }
}
