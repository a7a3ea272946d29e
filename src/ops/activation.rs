//! Activation functions, as the epilogue of a linear layer applies them.

use serde::{Deserialize, Serialize};

/// A scalar function applied to a linear layer's output.
///
/// The discriminants are the values of the shaders' `ACTIVATION` constant. `shaders/common/activation.wgsl` has the same formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[repr(u32)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The identity.
    #[default]
    None = 0,
    /// `x·Φ(x)` with the exact normal distribution (PyTorch's `gelu`).
    Gelu = 1,
    /// `x/2·(1 + tanh(√(2/π)(x + 0.044715x³)))` (`gelu_pytorch_tanh`, `gelu_new`, `gelu_fast`).
    GeluTanh = 2,
    /// `x·σ(1.702x)` (OpenAI CLIP's `quick_gelu`).
    QuickGelu = 3,
    /// `max(x, 0)`.
    Relu = 4,
    /// `tanh(x)` (poolers and pre-logits).
    Tanh = 5,
    /// `x·σ(x)`.
    Silu = 6,
}

/// Abramowitz and Stegun 7.1.26: `erfc(z) = t·(a1 + t·(a2 + …))·e^(−z²)`, `t = 1/(1 + pz)`, absolute error below 1.5e-7.
pub const ERFC: [f32; 6] = [0.327_591_1, 0.254_829_6, -0.284_496_72, 1.421_413_8, -1.453_152, 1.061_405_4];

impl Activation {
    /// An activation by the name that timm or Hugging Face gives it.
    #[must_use]
    pub fn named(name: &str) -> Option<Activation> {
        Some(match name {
            "gelu" | "gelu_erf" | "gelu_python" => Activation::Gelu,
            // These names mean the same formula (transformers' activations.py).
            "gelu_tanh" | "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate" => {
                Activation::GeluTanh
            }
            "quick_gelu" | "quickgelu" => Activation::QuickGelu,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            "tanh" => Activation::Tanh,
            _ => return None,
        })
    }

    /// The function's value at `x`. `exp` and `mul_add` (`a·b + c`) are passed in so that faster implementations can use the same
    /// formulas.
    #[inline(always)]
    #[must_use]
    pub fn apply_with(self, x: f32, exp: impl Fn(f32) -> f32, mul_add: impl Fn(f32, f32, f32) -> f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Gelu => {
                // relu(x) − |x|/2·erfc(|x|/√2): no cancellation on the negative side, no branch.
                let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
                let t = 1.0 / mul_add(ERFC[0], z, 1.0);
                let poly = mul_add(t, ERFC[5], ERFC[4]);
                let poly = mul_add(t, mul_add(t, mul_add(t, poly, ERFC[3]), ERFC[2]), ERFC[1]);
                mul_add(-0.5 * x.abs(), t * poly * exp(-z * z), x.max(0.0))
            }
            // 0.5·(1 + tanh(u)) = σ(2u), which can't overflow once its exponent is bounded.
            Activation::GeluTanh => x * sigmoid(1.595_769 * (x + 0.044_715 * x * x * x), exp),
            Activation::QuickGelu => x * sigmoid(1.702 * x, exp),
            // Not `max`, which would turn a NaN into 0.
            Activation::Relu => {
                if x <= 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Activation::Tanh => x.tanh(),
            Activation::Silu => x * sigmoid(x, exp),
        }
    }

    /// The function's value at `x`.
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        self.apply_with(x, f32::exp, |a, b, c| a * b + c)
    }
}

#[inline(always)]
fn sigmoid(x: f32, exp: impl Fn(f32) -> f32) -> f32 {
    1.0 / (1.0 + exp((-x).min(80.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_within_1e_6_of_the_true_one() {
        let mut worst = 0.0f64;
        for i in -80_000..=80_000 {
            let x = i as f32 * 1e-4;
            let z = f64::from(x);
            let want = 0.5 * z * (1.0 + libm::erf(z / std::f64::consts::SQRT_2));
            let error = (f64::from(Activation::Gelu.apply(x)) - want).abs() / z.abs().max(1.0);
            worst = worst.max(error);
        }
        assert!(worst < 1e-6, "worst {worst:e}");
    }

    #[test]
    fn the_others_follow_their_formulas_and_stay_finite() {
        for i in -400..=400 {
            let x = i as f32 * 0.25;
            let z = f64::from(x);
            let u = (2.0 / std::f64::consts::PI).sqrt() * (z + 0.044_715 * z * z * z);
            for (act, want) in [
                (Activation::None, z),
                (Activation::GeluTanh, 0.5 * z * (1.0 + u.tanh())),
                (Activation::QuickGelu, z / (1.0 + (-1.702 * z).exp())),
                (Activation::Relu, z.max(0.0)),
                (Activation::Tanh, z.tanh()),
                (Activation::Silu, z / (1.0 + (-z).exp())),
            ] {
                let got = act.apply(x);
                assert!(
                    (f64::from(got) - want).abs() <= 1e-6 * want.abs().max(1.0),
                    "{act:?}({x}) = {got}, want {want}"
                );
            }
        }
    }
}
