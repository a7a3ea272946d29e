//! Small functions that vectorise. They are plain Rust, which the compiler turns into vector instructions inside
//! [`vectorized`], which picks the processor's best set at run time.

/// Runs `body` compiled for the widest vectors this processor has (AVX-512, AVX2 or the target's baseline).
///
/// `body` and what it calls must be `#[inline(always)]` to be compiled with it.
#[inline(always)]
pub fn vectorized<R>(body: impl FnOnce() -> R) -> R {
    struct Body<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Body<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Body(body))
}

/// `e^x` for `x ≤ 88`, relative error below 2e-7, 0 far below: 2^n·p(r) with r in ±ln2/2, degree 6 (Cephes' coefficients).
///
/// n is rounded by adding 1.5·2²³; the low bits of the sum are then n. This avoids a slower conversion to an integer.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
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
    #[test]
    fn exp_is_within_2e_7() {
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            let error = (f64::from(super::exp(x)) - want).abs() / want;
            assert!(error < 2e-7, "exp({x}) is off by {error:e}");
        }
        assert!(super::exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn sums_include_every_element() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(super::sum_by(&values, |v| 2.0 * v), (0..len).map(|i| 2.0 * i as f32).sum::<f32>());
        }
    }
}
