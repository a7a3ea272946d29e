//! The arithmetic of a merge: what an adapter adds to the rows of a weight or bias, in f32.

use std::sync::Arc;

use crate::checkpoint::tensors::{Change, Tensors};
use crate::error::Result;

/// `W + scale·B·A`: the weight of a linear layer or a convolution, whose first axis are the outputs. With a magnitude m (DoRA),
/// each row w of that becomes `m·w/‖w‖`.
pub struct LowRank {
    pub adapter: Arc<Tensors>,
    /// The tensor's name, and its values: `[rank, …]`.
    pub a: String,
    /// `[outputs, rank]`, for a convolution with axes of 1 behind them.
    pub b: String,
    /// A value for each output.
    pub magnitude: Option<String>,
    pub scale: f32,
    pub rank: usize,
}

impl Change for LowRank {
    fn change(&self, first: usize, rows: &mut [f32]) -> Result<()> {
        let (_, a) = self.adapter.values(&self.a)?;
        let width = a.len() / self.rank;
        let count = rows.len() / width;
        let mut b = vec![0.0; count * self.rank];
        self.adapter.read(&self.b, first * self.rank, &mut b)?;
        let mut product = vec![0.0f32; width];
        for (row, factors) in rows.chunks_exact_mut(width).zip(b.chunks_exact(self.rank)) {
            product.fill(0.0);
            for (factor, a) in factors.iter().zip(a.chunks_exact(width)) {
                product.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * a);
            }
            row.iter_mut().zip(&product).for_each(|(weight, product)| *weight += self.scale * product);
        }
        let Some(magnitude) = &self.magnitude else { return Ok(()) };
        let mut magnitudes = vec![0.0; count];
        self.adapter.read(magnitude, first, &mut magnitudes)?;
        for (row, magnitude) in rows.chunks_exact_mut(width).zip(magnitudes) {
            let norm = row.iter().map(|weight| f64::from(*weight).powi(2)).sum::<f64>().sqrt() as f32;
            row.iter_mut().for_each(|weight| *weight *= magnitude / norm);
        }
        Ok(())
    }
}

/// `bias + scale·b`: what an adapter with a bias of its own (`lora_bias`) adds to a layer's.
pub struct Scaled {
    pub adapter: Arc<Tensors>,
    pub bias: String,
    pub scale: f32,
}

impl Change for Scaled {
    fn change(&self, first: usize, rows: &mut [f32]) -> Result<()> {
        let mut bias = vec![0.0; rows.len()];
        self.adapter.read(&self.bias, first, &mut bias)?;
        rows.iter_mut().zip(bias).for_each(|(value, bias)| *value += self.scale * bias);
        Ok(())
    }
}
