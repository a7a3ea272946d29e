//! Memory of runs on the processor; an error where there is none left.

use crate::error::{Error, Result};

/// What a run writes: activation slots, and room for a product's packed rows.
#[derive(Default)]
pub struct Memory {
    pub slots: Vec<Vec<f32>>,
    pub scratch: Vec<f32>,
}

/// So many zeros, or an error where there is no memory for them.
pub fn zeros(what: &str, len: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    grow(what, &mut values, len)?;
    Ok(values)
}

/// Makes room for so many values.
pub fn grow(what: &str, values: &mut Vec<f32>, len: usize) -> Result<()> {
    let more = len.saturating_sub(values.len());
    let full = |_| Error::OutOfMemory { adapter: "cpu".to_owned(), what: format!("{what}, {} bytes", 4 * len as u64) };
    values.try_reserve_exact(more).map_err(full)?;
    values.resize(len.max(values.len()), 0.0);
    Ok(())
}
