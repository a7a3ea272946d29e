//! Layer normalisation over the trailing axes (Ba, Kiros and Hinton 2016), biased variance as PyTorch's; and its relative
//! without mean and bias, root-mean-square normalisation (Zhang and Sennrich 2019).

use super::{Operands, operand, positive, product};

/// `y = (x − mean)/√(var + eps)·weight + bias`, or `y = x/√(mean(x²) + eps)·weight`, within each group of `len`
/// consecutive values.
///
/// Operands: `x [groups, len]`, `weight [len]`, `bias [len]?` (absent with `rms`); output `[groups, len]`. Normalising `[B, T, D]` over its last
/// axis is `groups = B·T, len = D`; jointly over its last two, `groups = B, len = T·D`: see [`LayerNorm::over`].
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// Number of groups that are normalised independently.
    pub groups: usize,
    /// Number of values in a group.
    pub len: usize,
    /// Epsilon: the number added to the variance.
    pub eps: f32,
    /// `true` for RMSNorm: no mean is subtracted and there is no bias.
    pub rms: bool,
}

impl LayerNorm {
    /// Normalises a tensor of `shape` jointly over its last `axes` axes.
    #[must_use]
    pub fn over(shape: &[usize], axes: usize, eps: f32) -> Self {
        let (outer, inner) = shape.split_at(shape.len() - axes.min(shape.len()));
        LayerNorm { groups: product(outer), len: product(inner), eps, rms: false }
    }

    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("groups", self.groups), ("len", self.len)])
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![Some(product(&[self.groups, self.len])), Some(self.len), (!self.rms).then_some(self.len)]
    }

    pub(super) fn output_len(&self) -> usize {
        product(&[self.groups, self.len])
    }

    pub(super) fn flop(&self) -> f64 {
        7.0 * self.output_len() as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let (x, weight, bias) = (operand(operands, 0), operand(operands, 1), operand(operands, 2));
        for (row, out) in x.chunks_exact(self.len).zip(out.chunks_exact_mut(self.len)).take(self.groups) {
            let sum = if self.rms { 0.0 } else { row.iter().map(|v| f64::from(*v)).sum::<f64>() };
            let mean = sum / self.len as f64;
            let var = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / self.len as f64;
            let rstd = 1.0 / (var + f64::from(self.eps)).sqrt();
            for (i, (y, v)) in out.iter_mut().zip(row).enumerate() {
                let b = if self.rms { 0.0 } else { f64::from(bias[i]) };
                *y = ((f64::from(*v) - mean) * rstd * f64::from(weight[i]) + b) as f32;
            }
        }
    }
}
