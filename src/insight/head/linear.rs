//! A linear classifier.

use crate::error::{Error, Result};

/// A linear classifier: `logits = weights · features + biases`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Linear {
    /// Of weights `[K, F]`, row by row, and biases `[K]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for values that are not finite, and weights that are not a whole number for each class.
    pub fn new(weights: Vec<f32>, biases: Vec<f32>) -> Result<Linear> {
        if biases.is_empty() || weights.is_empty() || !weights.len().is_multiple_of(biases.len()) {
            let reason = format!("{} weights for {} classes", weights.len(), biases.len());
            return Err(Error::argument("weights", reason));
        }
        if weights.iter().chain(&biases).any(|value| !value.is_finite()) {
            return Err(Error::argument("weights", "a weight or bias is not finite"));
        }
        Ok(Linear { weights, biases })
    }

    /// Weights `[K, F]`, row by row, for features as the model gives them.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Biases `[K]`.
    #[must_use]
    pub fn biases(&self) -> &[f32] {
        &self.biases
    }

    pub(super) fn classes(&self) -> usize {
        self.biases.len()
    }

    pub(super) fn width(&self) -> usize {
        self.weights.len() / self.biases.len()
    }

    pub(super) fn logits(&self, features: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.width()).zip(&self.biases);
        rows.map(|(weights, bias)| (dot(weights, features) + f64::from(*bias)) as f32).collect()
    }
}

/// The product of two vectors, summed in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
