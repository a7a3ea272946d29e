//! Values from an integer hash, the same in every language: no libm, only 64-bit integers and IEEE products.

/// A stream of values in [−1, 1) for a tensor name and a seed.
///
/// Value `i` is the top 24 bits of SplitMix64 at `hash(name) + seed·C + (i + 1)·C` (C the golden-ratio constant), as a signed
/// fraction; `hash` is 64-bit FNV-1a. All steps are exact in f32.
#[derive(Debug, Clone, Copy)]
pub struct HashedValues {
    start: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl HashedValues {
    /// The stream of one tensor.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Self {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        HashedValues { start: hash.wrapping_add(seed.wrapping_mul(GOLDEN)) }
    }

    /// Value `i`.
    #[must_use]
    pub fn get(self, i: usize) -> f32 {
        let mut z = self.start.wrapping_add((i as u64 + 1).wrapping_mul(GOLDEN));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// Centre and spread of a weight's values. They are chosen so that every parameter changes the result, as in a trained model: norm
/// weights differ from 1, biases differ from 0, and every branch changes the residual.
#[must_use]
pub fn spread(name: &str, shape: &[usize]) -> (f32, f32) {
    match shape {
        [_, inner] if name.ends_with(".weight") => (0.0, (3.0 / *inner as f32).sqrt()),
        _ if name.ends_with(".weight") => (1.0, 0.25),
        _ if name.ends_with(".gamma") => (0.5, 0.25),
        _ if name.ends_with(".bias") => (0.0, 0.1),
        _ => (0.0, 0.5),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_are_those_the_python_twin_makes() {
        let values = super::HashedValues::new("head.weight", 7);
        let got: Vec<f64> = (0..3).map(|i| f64::from(values.get(i))).collect();
        assert_eq!(got, [-0.633384108543396, 0.5403192043304443, 0.22316265106201172]);
    }
}
