//! What examples must be, whatever is made of them.

use crate::error::{Error, Result};

/// Refuses features that are not rows of one length and finite, and classes that are not one for each row, below `count`, and
/// all there.
pub fn check(features: &[Vec<f32>], classes: &[usize], count: usize) -> Result<()> {
    let wrong = |name, reason: String| Err(Error::argument(name, reason));
    if features.len() != classes.len() {
        return wrong("classes", format!("{} rows of features, {} classes", features.len(), classes.len()));
    }
    if count < 2 {
        return wrong("classes", format!("{count} class: a classifier needs two or more"));
    }
    let width = features.first().map_or(0, Vec::len);
    if width == 0 || features.iter().any(|row| row.len() != width) {
        return wrong("features", "all rows of features must have the same length, 1 or more".to_owned());
    }
    if let Some(row) = features.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
        return wrong("features", format!("row {row} of the features is not finite"));
    }
    let mut there = vec![false; count];
    for class in classes {
        match there.get_mut(*class) {
            Some(there) => *there = true,
            None => return wrong("classes", format!("class {class}: there are {count} classes")),
        }
    }
    match there.iter().position(|there| !there) {
        Some(class) => wrong("classes", format!("class {class} has no examples")),
        None => Ok(()),
    }
}
