//! How far a result may be from the processor's: what `verify`, `bench` and `doctor` hold a device to.

use vit_gpu::{Outputs, Precision};

/// An f32 value may differ by this much, plus this times the absolute value of the reference.
const F32_TOLERANCE: f64 = 1e-4;
/// The largest relative L2 distance of an f16 output from the reference.
const F16_DISTANCE: f64 = 1e-2;

/// The largest relative L2 distance of an i8 output from the reference.
const I8_DISTANCE: f64 = 2e-2;

/// How far all outputs of a device are from the processor's, over all images.
#[derive(Default)]
pub struct Comparison {
    /// One for each output that either side gives, from the input on.
    pub outputs: Vec<Distance>,
}

impl Comparison {
    /// Adds the outputs of some images. An output that only one side gives, or in another shape, fails.
    pub fn add(&mut self, got: &Outputs, want: &Outputs) {
        for want in &want.0 {
            let distance = self.of(&want.name);
            match got.get(&want.name) {
                None => distance.fail("the device does not give it".into()),
                Some(got) if got.shape != want.shape => {
                    distance.fail(format!("its shape is {:?} instead of {:?}", got.shape, want.shape));
                }
                Some(got) => {
                    let len: usize = want.shape.iter().product();
                    if want.values.len() != len {
                        distance.fail(format!("the processor gives {} values instead of {len}", want.values.len()));
                    }
                    distance.add(&got.values, &want.values);
                }
            }
        }
        for got in got.0.iter().filter(|got| want.get(&got.name).is_none()) {
            self.of(&got.name).fail("the processor does not give it".into());
        }
    }

    fn of(&mut self, name: &str) -> &mut Distance {
        let known = self.outputs.iter().position(|distance| distance.name == name);
        let at = known.unwrap_or_else(|| {
            self.outputs.push(Distance::of(name));
            self.outputs.len() - 1
        });
        &mut self.outputs[at]
    }

    /// Whether there are outputs, and all of them are near enough.
    pub fn ok(&self, precision: Precision) -> bool {
        !self.outputs.is_empty() && self.outputs.iter().all(|distance| distance.ok(precision))
    }

    /// The first output, from the input on, that is too far off.
    pub fn first_breach(&self, precision: Precision) -> Option<&str> {
        self.outputs.iter().find(|distance| !distance.ok(precision)).map(|distance| distance.name.as_str())
    }
}

/// How far one output is from the reference, over all images.
#[derive(Default)]
pub struct Distance {
    pub name: String,
    /// The largest difference; NaN if there is a fault.
    pub largest: f64,
    /// Why the values can't be compared, if they can't.
    pub fault: Option<String>,
    compared: usize,
    /// The largest difference as a share of the f32 tolerance; more than 1 is a failure.
    share: f64,
    apart: f64,
    length: f64,
}

impl Distance {
    /// A distance with nothing added yet.
    pub fn of(name: &str) -> Distance {
        Distance { name: name.to_owned(), ..Distance::default() }
    }

    /// Adds the values of some images; other than there should be, or none, is a fault, and so is a NaN on either side.
    pub fn add(&mut self, got: &[f32], want: &[f32]) {
        if got.len() != want.len() {
            return self.fail(format!("it has {} values instead of {}", got.len(), want.len()));
        }
        if want.is_empty() {
            return self.fail("it has no values".into());
        }
        for (got, want) in got.iter().zip(want).map(|(g, w)| (f64::from(*g), f64::from(*w))) {
            let off = (got - want).abs();
            // `max` would drop it.
            if off.is_nan() {
                return self.fail("it holds a NaN or an infinity".into());
            }
            self.largest = self.largest.max(off);
            self.share = self.share.max(off / (F32_TOLERANCE * (1.0 + want.abs())));
            self.apart += off * off;
            self.length += want * want;
        }
        self.compared += want.len();
        if self.fault.is_some() {
            self.largest = f64::NAN;
        }
    }

    fn fail(&mut self, reason: String) {
        self.fault.get_or_insert(reason);
        self.largest = f64::NAN;
    }

    /// The L2 norm of the difference relative to that of the reference; NaN if there is a fault.
    pub fn relative(&self) -> f64 {
        match (&self.fault, self.apart) {
            (Some(_), _) => f64::NAN,
            // Also where the reference is all zeros.
            (None, 0.0) => 0.0,
            (None, apart) => (apart / self.length).sqrt(),
        }
    }

    /// Whether there are values, and they are near enough.
    pub fn ok(&self, precision: Precision) -> bool {
        let near = match precision {
            Precision::F32 => self.share <= 1.0,
            Precision::F16 => self.relative() <= F16_DISTANCE,
            Precision::I8 => self.relative() <= I8_DISTANCE,
        };
        near && self.fault.is_none() && self.compared > 0
    }
}

#[cfg(test)]
mod tests {
    use vit_gpu::Output;

    use super::*;

    const ALL: [Precision; 3] = [Precision::F32, Precision::F16, Precision::I8];

    fn output(name: &str, shape: &[usize], values: &[f32]) -> Output {
        Output { name: name.into(), shape: shape.to_vec(), values: values.to_vec() }
    }

    fn compare(got: Vec<Output>, want: Vec<Output>) -> Comparison {
        let mut comparison = Comparison::default();
        comparison.add(&Outputs(got), &Outputs(want));
        comparison
    }

    /// Every precision refuses it, for one output and for this reason.
    #[track_caller]
    fn refused(comparison: &Comparison, name: &str, reason: &str) {
        for precision in ALL {
            assert!(!comparison.ok(precision), "{name} in {precision:?}");
            assert_eq!(comparison.first_breach(precision), Some(name));
        }
        let distance = comparison.outputs.iter().find(|distance| distance.name == name).unwrap();
        assert_eq!(distance.fault.as_deref(), Some(reason));
        assert!(distance.largest.is_nan() && distance.relative().is_nan());
    }

    #[test]
    fn distances_notice_what_is_off() {
        let mut distance = Distance::default();
        distance.add(&[1.0, 2.0], &[1.0, 2.0001]);
        assert!(ALL.iter().all(|precision| distance.ok(*precision)));
        distance.add(&[1.01], &[1.0]);
        assert!(!distance.ok(Precision::F32) && distance.ok(Precision::F16));
        assert!((distance.largest - 0.01).abs() < 1e-6);
        distance.add(&[1.1], &[1.0]);
        assert!(!distance.ok(Precision::F16) && !distance.ok(Precision::I8));
    }

    #[test]
    fn a_nan_or_an_infinity_on_either_side_fails_and_stays() {
        for (got, want) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN), (f32::INFINITY, f32::INFINITY)] {
            let mut comparison = compare(vec![output("a", &[2], &[1.0, got])], vec![output("a", &[2], &[1.0, want])]);
            refused(&comparison, "a", "it holds a NaN or an infinity");
            let right = || Outputs(vec![output("a", &[2], &[1.0, 2.0])]);
            comparison.add(&right(), &right());
            refused(&comparison, "a", "it holds a NaN or an infinity");
        }
        let infinite = compare(vec![output("a", &[1], &[f32::INFINITY])], vec![output("a", &[1], &[1.0])]);
        assert!(ALL.iter().all(|precision| !infinite.ok(*precision)));
    }

    #[test]
    fn an_output_that_one_side_lacks_fails() {
        let [a, b] = ["a", "b"].map(|name| output(name, &[1, 2], &[1.0, 2.0]));
        refused(&compare(vec![a.clone()], vec![a.clone(), b.clone()]), "b", "the device does not give it");
        refused(&compare(vec![a.clone(), b.clone()], vec![a.clone()]), "b", "the processor does not give it");
        assert!(compare(vec![b.clone(), a.clone()], vec![a, b]).ok(Precision::F32), "the order is not compared");
    }

    #[test]
    fn an_output_that_a_later_batch_lacks_fails() {
        let both = || Outputs(vec![output("a", &[1], &[1.0]), output("b", &[1], &[1.0])]);
        let mut comparison = compare(both().0, both().0);
        comparison.add(&Outputs(vec![output("a", &[1], &[1.0])]), &both());
        refused(&comparison, "b", "the device does not give it");
    }

    #[test]
    fn another_shape_fails_even_with_the_same_values() {
        let (got, want) = (output("a", &[1, 4], &[1.0; 4]), output("a", &[2, 2], &[1.0; 4]));
        refused(&compare(vec![got], vec![want]), "a", "its shape is [1, 4] instead of [2, 2]");
    }

    #[test]
    fn an_output_that_is_too_short_too_long_or_empty_fails() {
        let of = |values: &[f32]| vec![output("a", &[1, 3], values)];
        refused(&compare(of(&[1.0; 2]), of(&[1.0; 3])), "a", "it has 2 values instead of 3");
        refused(&compare(of(&[]), of(&[1.0; 3])), "a", "it has 0 values instead of 3");
        refused(&compare(of(&[1.0; 4]), of(&[1.0; 3])), "a", "it has 4 values instead of 3");
        refused(&compare(of(&[1.0; 2]), of(&[1.0; 2])), "a", "the processor gives 2 values instead of 3");
        let none = || vec![output("a", &[0, 3], &[])];
        refused(&compare(none(), none()), "a", "it has no values");
    }

    #[test]
    fn comparing_nothing_is_no_agreement() {
        assert!(ALL.iter().all(|precision| !Comparison::default().ok(*precision)));
        assert!(ALL.iter().all(|precision| !Distance::of("a").ok(*precision)));
        assert!(!compare(Vec::new(), Vec::new()).ok(Precision::F32));
    }

    #[test]
    fn zeros_agree_with_zeros() {
        let zeros = || vec![output("a", &[2], &[0.0; 2])];
        assert!(ALL.iter().all(|precision| compare(zeros(), zeros()).ok(*precision)));
        let off = compare(vec![output("a", &[2], &[0.1; 2])], zeros());
        assert!(ALL.iter().all(|precision| !off.ok(*precision)));
    }
}
