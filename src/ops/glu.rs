//! Gated linear units (Shazeer 2020): SwiGLU with SiLU, GEGLU with GELU.

use super::{Activation, Operands, operand, positive, product};

/// `y[r] = act(x[r, ..width])·x[r, width..]`. Operand: `x [rows, 2·width]`, the gate first; output `[rows, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Glu {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns of the output.
    pub width: usize,
    /// Activation of the gate.
    pub act: Activation,
}

impl Glu {
    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("rows", self.rows), ("width", self.width)])
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![Some(product(&[2, self.rows, self.width]))]
    }

    pub(super) fn output_len(&self) -> usize {
        product(&[self.rows, self.width])
    }

    pub(super) fn flop(&self) -> f64 {
        8.0 * self.output_len() as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let rows = operand(operands, 0).chunks_exact(2 * self.width);
        for (x, out) in rows.zip(out.chunks_exact_mut(self.width)).take(self.rows) {
            let (gate, value) = x.split_at(self.width);
            for ((y, gate), value) in out.iter_mut().zip(gate).zip(value) {
                *y = self.act.apply(*gate) * value;
            }
        }
    }
}
