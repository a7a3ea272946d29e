//! Small functions that vectorise. They are plain Rust, which the compiler turns into vector instructions inside
//! [`vectorized`], which picks the processor's best set at run time.

use pulp::{Simd, WithSimd};

use crate::ops::Activation;

/// Runs `body` compiled for the widest vectors this processor has (AVX-512, AVX2 or the target's baseline).
///
/// `body` and what it calls must be `#[inline(always)]` to be compiled with it.
#[inline(always)]
pub fn vectorized<R>(body: impl FnOnce(Math) -> R) -> R {
    struct Body<F>(F);
    impl<R, F: FnOnce(Math) -> R> WithSimd for Body<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> R {
            (self.0)(Math::of(simd))
        }
    }
    pulp::Arch::new().dispatch(Body(body))
}

/// Functions for code that is compiled for some vectors.
#[derive(Debug, Clone, Copy)]
pub struct Math {
    /// Whether a multiplication and an addition are one instruction. Where they are not, `f32::mul_add` is a slow function.
    fused: bool,
}

impl Math {
    /// With AVX2 there are such instructions.
    #[inline(always)]
    pub fn of<S: Simd>(_: S) -> Math {
        Math { fused: S::F32_LANES >= 8 }
    }

    /// `a·b + c`.
    #[inline(always)]
    pub fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        if self.fused { a.mul_add(b, c) } else { a * b + c }
    }

    /// The activation's value at `x`.
    #[inline(always)]
    pub fn activation(self, act: Activation, x: f32) -> f32 {
        act.apply_with(
            x,
            #[inline(always)]
            |x| self.exp(x),
            #[inline(always)]
            |a, b, c| self.mul_add(a, b, c),
        )
    }

    /// Applies the activation to each value.
    #[inline(always)]
    pub fn activate(self, act: Activation, row: &mut [f32]) {
        for y in row {
            *y = self.activation(act, *y);
        }
    }

    /// `e^x` for `x ≤ 88`, relative error below 2e-7, 0 far below: 2^n·p(r) with r in ±ln2/2, degree 6 (Cephes' coefficients).
    ///
    /// n is rounded by adding 1.5·2²³; the low bits of the sum are then n. This avoids a slower conversion to an integer.
    #[inline(always)]
    pub fn exp(self, x: f32) -> f32 {
        const ROUNDER: f32 = 12_582_912.0;
        let x = x.clamp(-87.0, 88.0);
        let shifted = self.mul_add(x, std::f32::consts::LOG2_E, ROUNDER);
        let n = shifted - ROUNDER;
        let r = self.mul_add(n, 2.121_944_4e-4, self.mul_add(n, -0.693_359_4, x));
        let p = self.mul_add(1.987_569_1e-4, r, 1.398_199_9e-3);
        let p = self.mul_add(p, r, 8.333_452e-3);
        let p = self.mul_add(p, r, 4.166_579_6e-2);
        let p = self.mul_add(p, r, 1.666_666_5e-1);
        let p = self.mul_add(p, r, 0.5);
        let p = self.mul_add(p * r, r, r) + 1.0;
        p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
    }
}

/// The sum of `f(v)`. It keeps 16 running sums, so that it vectorises and has smaller rounding errors than one sum.
#[inline(always)]
pub fn sum_by(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f(*v);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(rest) {
        *lane += f(*v);
    }
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::Math;

    #[test]
    fn exp_is_within_2e_7() {
        for math in [Math { fused: true }, Math { fused: false }] {
            for i in -870_000..=880_000 {
                let x = i as f32 * 1e-4;
                let want = f64::from(x).exp();
                let error = (f64::from(math.exp(x)) - want).abs() / want;
                assert!(error < 2e-7, "exp({x}) is off by {error:e}");
            }
            assert!(math.exp(f32::NEG_INFINITY) < 1e-37);
        }
    }

    #[test]
    fn sums_include_every_element() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(super::sum_by(&values, |v| 2.0 * v), (0..len).map(|i| 2.0 * i as f32).sum::<f32>());
        }
    }
}
