//! How far a result may be from the processor's: what `verify` and `bench` hold a device to.

use vit_gpu::Precision;

/// f32 results may differ by this, plus as much of the reference's value.
const F32_TOLERANCE: f64 = 1e-4;
/// f16 results, each as one vector, may be as far from the reference's, relative to its length.
const F16_DISTANCE: f64 = 1e-2;

/// i8 results likewise.
const I8_DISTANCE: f64 = 2e-2;

/// How far one output is from the reference, over all images.
#[derive(Default)]
pub struct Distance {
    pub name: String,
    pub largest: f64,
    /// The largest share of the f32 tolerance.
    share: f64,
    apart: f64,
    length: f64,
}

impl Distance {
    /// Of an output nothing was compared of yet.
    pub fn of(name: &str) -> Distance {
        Distance { name: name.to_owned(), ..Distance::default() }
    }

    /// Adds the values of some images; other than there should be, or none, is as far off as can be.
    pub fn add(&mut self, got: &[f32], want: &[f32]) {
        if got.len() != want.len() || want.is_empty() {
            (self.largest, self.share, self.apart) = (f64::NAN, f64::NAN, f64::NAN);
        }
        for (got, want) in got.iter().zip(want).map(|(g, w)| (f64::from(*g), f64::from(*w))) {
            let off = (got - want).abs();
            // A NaN stays: `max` would drop it.
            let most = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
            self.largest = most(self.largest, off);
            self.share = most(self.share, off / (F32_TOLERANCE * (1.0 + want.abs())));
            self.apart += off * off;
            self.length += want * want;
        }
    }

    pub fn relative(&self) -> f64 {
        (self.apart / self.length).sqrt()
    }

    pub fn ok(&self, precision: Precision) -> bool {
        match precision {
            Precision::F32 => self.share <= 1.0,
            Precision::F16 => self.relative() <= F16_DISTANCE,
            Precision::I8 => self.relative() <= I8_DISTANCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_notice_what_is_off_and_what_is_no_number() {
        let mut distance = Distance::default();
        distance.add(&[1.0, 2.0], &[1.0, 2.0001]);
        assert!(distance.ok(Precision::F32) && distance.ok(Precision::F16));
        distance.add(&[1.01], &[1.0]);
        assert!(!distance.ok(Precision::F32) && distance.ok(Precision::F16));
        let mut shorter = Distance::default();
        shorter.add(&[1.0], &[1.0, 1.0]);
        assert!(!shorter.ok(Precision::F32) && !shorter.ok(Precision::F16));
        distance.add(&[f32::NAN], &[1.0]);
        assert!(!distance.ok(Precision::F32) && !distance.ok(Precision::F16));
    }
}
