//! `y = scale·(a + b)`: the mean of a distilled model's two heads.

use super::{Operands, operand, positive};

/// Operands: `a [len]`, `b [len]`; output `[len]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// Number of elements.
    pub len: usize,
    /// Factor applied to the sum.
    pub scale: f32,
}

impl Add {
    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("len", self.len)])
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![Some(self.len), Some(self.len)]
    }

    pub(super) fn output_len(&self) -> usize {
        self.len
    }

    pub(super) fn flop(&self) -> f64 {
        2.0 * self.len as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        for ((y, a), b) in out.iter_mut().zip(operand(operands, 0)).zip(operand(operands, 1)).take(self.len) {
            *y = self.scale * (a + b);
        }
    }
}
