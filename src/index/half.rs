//! Half precision, and vectors of length 1 in it.

use half::f16;

/// A finite f16 value as f32, in a form that compilers turn into vector instructions. No step has a subnormal f32 value, which some
/// processors compute slowly.
#[inline(always)]
pub fn widen(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let normal = f32::from_bits(magnitude + (112 << 23));
    // 2^-14 plus the value has the value's bits at the right place.
    let subnormal = f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23);
    let value = if bits & 0x7c00 == 0 { subnormal } else { normal };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// A vector of length 1; one of zeros stays as it is.
pub fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
    vector.iter().map(|v| (f64::from(*v) / length) as f32).collect()
}

/// A vector of length 1 as the bytes of the file, little-endian.
pub fn stored(vector: &[f32], out: &mut Vec<u8>) {
    out.extend(unit(vector).iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_that_of_the_crate_half() {
        for bits in 0..=u16::MAX {
            let want = f16::from_bits(bits);
            if want.is_finite() {
                assert_eq!(widen(bits).to_bits(), want.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn stored_vectors_have_length_1() {
        let mut bytes = Vec::new();
        stored(&[3.0, -4.0], &mut bytes);
        let values: Vec<f32> = bytes.as_chunks::<2>().0.iter().map(|b| widen(u16::from_le_bytes(*b))).collect();
        assert!((values[0] - 0.6).abs() < 1e-3 && (values[1] + 0.8).abs() < 1e-3, "{values:?}");
        assert_eq!(unit(&[0.0; 3]), [0.0; 3]);
    }
}
