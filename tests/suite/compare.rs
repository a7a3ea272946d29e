//! Comparators and their named tolerances. A difference, a NaN, a missing element: all fail.

/// What this system says of a file or folder that is not there.
pub fn missing(path: impl AsRef<std::path::Path>) -> String {
    std::fs::metadata(path).unwrap_err().to_string()
}

/// Sums of a few hundred products in another order.
pub const OP: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-5 };
/// A whole f32 model against PyTorch: design goal, 1e-4 + 1e-4·|reference|.
pub const MODEL: Tolerance = Tolerance { absolute: 1e-4, relative: 1e-4 };
/// The same bits.
pub const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub absolute: f64,
    pub relative: f64,
}

impl Tolerance {
    /// The same where values are stored with 11 bits.
    pub fn in_f16(self) -> Tolerance {
        Tolerance { absolute: self.absolute.max(2e-3), relative: self.relative.max(2e-3) }
    }
}

/// |got − want| / |want| of whole vectors.
pub fn distance(got: &[f32], want: &[f32]) -> Result<f64, String> {
    if got.len() != want.len() {
        return Err(format!("{} elements, {} expected", got.len(), want.len()));
    }
    let square = |x: f64| x * x;
    let apart: f64 = got.iter().zip(want).map(|(g, w)| square(f64::from(*g) - f64::from(*w))).sum();
    let length: f64 = want.iter().map(|w| square(f64::from(*w))).sum();
    let distance = (apart / length).sqrt();
    if distance.is_finite() { Ok(distance) } else { Err(format!("the distance is {distance}")) }
}

/// The largest |got − want| / (absolute + relative·|want|), at most 1 when all is well.
pub fn worst(got: &[f32], want: &[f32], tolerance: Tolerance) -> Result<f64, String> {
    if got.len() != want.len() {
        return Err(format!("{} elements, {} expected", got.len(), want.len()));
    }
    let mut worst = 0.0f64;
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        if !g.is_finite() || !w.is_finite() {
            return Err(format!("element {i} is {g}, {w} expected"));
        }
        let difference = (f64::from(g) - f64::from(w)).abs();
        let allowed = tolerance.absolute + tolerance.relative * f64::from(w).abs();
        if difference > allowed {
            return Err(format!("element {i} is {g}, {w} expected: off by {difference:e}, {allowed:e} allowed"));
        }
        worst = worst.max(if allowed > 0.0 { difference / allowed } else { 0.0 });
    }
    Ok(worst)
}

#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: Tolerance) {
    if let Err(error) = worst(got, want, tolerance) {
        panic!("{what}: {error}");
    }
}

#[test]
fn the_comparator_fails_when_it_should() {
    let want = [1.0, -2.0, 0.0];
    assert!(worst(&want, &want, EXACT).is_ok());
    assert!(worst(&[1.0, -2.00001, 0.0], &want, OP).is_ok());
    assert!(worst(&[1.0, -2.001, 0.0], &want, OP).is_err());
    assert!(worst(&[1.0, -2.0, 1e-7], &want, EXACT).is_err());
    assert!(worst(&[1.0, f32::NAN, 0.0], &want, MODEL).is_err());
    assert!(worst(&[f32::INFINITY, -2.0, 0.0], &want, MODEL).is_err());
    assert!(worst(&want, &[1.0, f32::NAN, 0.0], MODEL).is_err());
    assert!(worst(&want[..2], &want, MODEL).is_err());
    assert!((distance(&[1.0, -2.0, 0.1], &want).unwrap() - 0.1 / 5f64.sqrt()).abs() < 1e-8);
    assert!(distance(&[1.0, f32::NAN, 0.0], &want).is_err());
    assert!(distance(&want[..2], &want).is_err());
    assert!(distance(&[0.0; 3], &[0.0; 3]).is_err());
}
