//! Register tiles of bytes by vector instructions.

use super::{COLS, GROUP, Scales};

/// Proof that this processor has AVX-512's VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Dot(());

impl Dot {
    pub fn here() -> Option<Dot> {
        #[cfg(target_arch = "x86_64")]
        return (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")).then_some(Dot(()));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }
}

/// Whole sums of one register tile.
type Sums<const R: usize> = [[i32; COLS]; R];

/// One tile, with VNNI instructions if they are there.
pub fn tile<const R: usize>(dot: Option<Dot>, x: &[u32], panel: &[i8], scales: &Scales<'_>, sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if dot.is_some() {
        // SAFETY: `Dot` proves that the processor has these instructions, which is the only condition of `vnni`.
        #[expect(unsafe_code, reason = "a function with target features is unsafe to call from one without")]
        return unsafe { vnni::<R>(x, panel, scales, sums) };
    }
    let _ = dot;
    scaled(&plain::<R>(x, panel), scales, sums);
}

/// The sums in f32.
#[inline(always)]
fn scaled<const R: usize>(whole: &Sums<R>, scales: &Scales<'_>, sums: &mut [f32]) {
    for (i, (whole, sums)) in whole.iter().zip(sums.as_chunks_mut::<COLS>().0).enumerate() {
        *sums = scales.row(i, whole);
    }
}

/// A tile by `vpdpbusd`, which handles four values of k in sixteen columns per instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni<const R: usize>(x: &[u32], panel: &[i8], scales: &Scales<'_>, out: &mut [f32]) {
    use std::arch::x86_64::{__m512i, _mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_setzero_si512};
    const HALF: usize = COLS / 2;
    let mut sums = [[_mm512_setzero_si512(); 2]; R];
    for (x, w) in x.as_chunks::<R>().0.iter().zip(panel.as_chunks::<{ GROUP * HALF }>().0.as_chunks::<2>().0) {
        let w: [__m512i; 2] = [bytemuck::cast(w[0]), bytemuck::cast(w[1])];
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = _mm512_set1_epi32(x.cast_signed());
            sums[0] = _mm512_dpbusd_epi32(sums[0], x, w[0]);
            sums[1] = _mm512_dpbusd_epi32(sums[1], x, w[1]);
        }
    }
    // Here, so that the sums stay in registers.
    scaled(bytemuck::cast_ref::<_, Sums<R>>(&sums), scales, out);
}

/// The same sums without special instructions.
fn plain<const R: usize>(x: &[u32], panel: &[i8]) -> Sums<R> {
    let mut sums = [[0; COLS]; R];
    for (x, w) in x.as_chunks::<R>().0.iter().zip(panel.as_chunks::<GROUP>().0.as_chunks::<COLS>().0) {
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = x.to_le_bytes().map(i32::from);
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum +=
                    x[0] * i32::from(w[0]) + x[1] * i32::from(w[1]) + x[2] * i32::from(w[2]) + x[3] * i32::from(w[3]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::ROWS;
    use super::*;

    #[test]
    fn the_instructions_give_the_plain_sums() {
        // Every byte there is, and the largest sums.
        let x: Vec<u32> = (0..ROWS * 64).map(|i| (i as u32).wrapping_mul(0x9E37_79B9) | 0x8000_00FF).collect();
        let panel: Vec<i8> = (0..64 * COLS * GROUP).map(|i| if i % 3 == 0 { -127 } else { (i * 31) as i8 }).collect();
        let scales = Scales { ranges: &[[0.25, -3.0]; ROWS], scales: [0.5; COLS], sums: [7.0; COLS] };
        let (mut got, mut want) = ([0.0; ROWS * COLS], [0.0; ROWS * COLS]);
        tile::<14>(Dot::here(), &x, &panel, &scales, &mut got);
        tile::<14>(None, &x, &panel, &scales, &mut want);
        assert_eq!(got, want);
        tile::<1>(Dot::here(), &x[..64], &panel, &scales, &mut got);
        tile::<1>(None, &x[..64], &panel, &scales, &mut want);
        assert_eq!(got, want);
        assert_eq!(
            plain::<1>(&[0xFF02_01FF], &[127, -1, 3, -127].repeat(COLS))[0],
            [127 * 255 - 1 + 6 - 127 * 255; COLS]
        );
    }
}
