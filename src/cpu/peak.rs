//! Measures the highest rates of the processor, by multiply-adds in registers and by a large copy.

use std::hint::black_box;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::amx::{self, Amx, Line, PARTS, Sums, TILE};
use crate::executor::{Instant, Peak};

/// Number of floats in the source, and in the destination, of the copy: 64 MiB each.
const COPIED: usize = 16 << 20;
/// Rounds of multiply-adds: some milliseconds.
const ROUNDS: usize = 1 << 20;
/// Number of independent sums: more than any processor has multiply-adds in progress at a time.
const SUMS: usize = 12;

/// Multiply-adds that use no memory. Returns how many floats one instruction works on.
struct MultiplyAdds;

impl WithSimd for MultiplyAdds {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let (x, y) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut sums = [y; SUMS];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = simd.mul_add_e_f32s(*sum, x, y));
        }
        black_box(sums.map(|sum| simd.reduce_sum_f32s(sum)));
        S::F32_LANES
    }
}

/// Products by matrix instructions, of f32 values in parts, whose factors stay in the nearest cache. Returns how many operations
/// on f32 values they stand for.
fn matrix_products(amx: Amx) -> f64 {
    const STEPS: usize = 4;
    const PRODUCTS: usize = 2048;
    let (rows, columns) = (vec![Line::ZERO; STEPS * PARTS * TILE], vec![Line::ZERO; STEPS * PARTS * amx::BLOCK]);
    let (ready, mut sums) = (amx.ready(), Sums::default());
    for _ in 0..PRODUCTS {
        ready.bf16([&rows, &rows], STEPS, (&columns, PARTS), &mut sums.0, &[]);
    }
    black_box(sums.0);
    2.0 * (amx::BLOCK * amx::BLOCK * amx::BF16_STEP * STEPS * PRODUCTS) as f64
}

/// Measures the limits with all threads of the pool it is called in.
pub fn measure() -> Peak {
    let arch = pulp::Arch::new();
    let lanes = arch.dispatch(MultiplyAdds);
    let seconds = best(|| drop(rayon::broadcast(|_| arch.dispatch(MultiplyAdds))));
    let flop = 2.0 * (ROUNDS * SUMS * lanes * rayon::current_num_threads()) as f64;
    let matrix = Amx::here().map(|amx| {
        let flop = matrix_products(amx) * rayon::current_num_threads() as f64;
        flop / best(|| drop(rayon::broadcast(|_| matrix_products(amx))))
    });
    let (x, mut y) = (vec![0.5f32; COPIED], vec![0.0f32; COPIED]);
    let copy = best(|| {
        y.par_chunks_mut(1 << 16).zip(x.par_chunks(1 << 16)).for_each(|(y, x)| y.copy_from_slice(x));
    });
    Peak { fma: flop / seconds, matrix, copy: (8 * COPIED) as f64 / copy }
}

/// The shortest of five times.
fn best(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
