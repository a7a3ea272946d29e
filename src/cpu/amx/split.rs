//! Splits f32 values into parts in bfloat16.

use std::arch::x86_64::*;

use super::{BF16_STEP, BLOCK, Block, Line, PARTS, TILE};

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub fn row(values: &[f32], lines: &mut [Line]) {
    let (whole, rest) = values.as_chunks::<BF16_STEP>();
    let (mut steps, mut last) = (whole.iter(), [0.0; BF16_STEP]);
    last[..rest.len()].copy_from_slice(rest);
    for lines in lines.chunks_mut(PARTS * TILE).take(values.len().div_ceil(BF16_STEP)) {
        let (halves, _) = steps.next().unwrap_or(&last).as_chunks::<TILE>();
        let [mut low, mut high] = [halves[0], halves[1]].map(bytemuck::cast::<_, __m512>);
        for i in 0..PARTS {
            let part = rounded(low, high);
            lines[i * TILE] = bytemuck::cast(part);
            if i + 1 < PARTS {
                (low, high) = (_mm512_sub_ps(low, part_of::<0>(part)), _mm512_sub_ps(high, part_of::<1>(part)));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub fn columns(values: &Block<f32>, parts: &mut [[Line; BLOCK]]) {
    // Of each pair of values of k, the first is the low half of 32 bits, the second the high one.
    let pairs: __m512i = bytemuck::cast(std::array::from_fn::<u16, BF16_STEP, _>(|i| (i / 2 + i % 2 * TILE) as u16));
    let count = parts.len();
    for (i, pair) in values.as_chunks::<2>().0.iter().enumerate() {
        for half in 0..2 {
            let column = |k: usize| -> __m512 { bytemuck::cast(pair[k].as_chunks::<TILE>().0[half]) };
            let (mut low, mut high) = (column(0), column(1));
            for (at, part) in parts.iter_mut().enumerate() {
                let bits = rounded(low, high);
                part[2 * i + half] = bytemuck::cast(_mm512_permutexvar_epi16(pairs, bits));
                if at + 1 < count {
                    (low, high) = (_mm512_sub_ps(low, part_of::<0>(bits)), _mm512_sub_ps(high, part_of::<1>(bits)));
                }
            }
        }
    }
}

/// 32 values in bfloat16, to nearest.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both types are 64 bytes without meaning of their own.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Half of these in f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn part_of<const HALF: i32>(part: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<HALF>(part))))
}
