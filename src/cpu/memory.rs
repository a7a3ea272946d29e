//! Memory of runs on the processor. If there is not enough, that is an error and not the end of the program.

use crate::error::{Error, Result};

/// What a run writes: activation slots, and room for a product's packed rows.
#[derive(Default)]
pub struct Memory {
    pub slots: Vec<Vec<f32>>,
    pub scratch: Vec<f32>,
}

/// `len` zeros.
///
/// # Errors
/// [`Error::OutOfMemory`] names `what` they are for.
pub fn zeros(what: &str, len: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    grow(what, &mut values, len)?;
    Ok(values)
}

/// Makes `values` at least `len` long, filled up with zeros.
///
/// # Errors
/// [`Error::OutOfMemory`] names `what` they are for.
pub fn grow(what: &str, values: &mut Vec<f32>, len: usize) -> Result<()> {
    let more = len.saturating_sub(values.len());
    values.try_reserve_exact(more).map_err(|_| full(what, len.saturating_mul(size_of::<f32>())))?;
    values.resize(len.max(values.len()), 0.0);
    Ok(())
}

/// The error where so many bytes can't be had.
pub fn full(what: &str, bytes: usize) -> Error {
    Error::OutOfMemory { adapter: "cpu".to_owned(), what: format!("{what}, {bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        for len in [usize::MAX, usize::MAX / 8, 1 << 55] {
            let error = zeros("slot 3", len).unwrap_err();
            assert!(matches!(&error, Error::OutOfMemory { adapter, .. } if adapter == "cpu"), "{error}");
            assert!(error.to_string().contains("slot 3"), "{error}");
        }
        assert_eq!(zeros("x", 3).unwrap(), [0.0; 3]);
    }
}
