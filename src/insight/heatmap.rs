//! One value for each patch of an image.

use crate::error::{Error, Result};

/// One value for each patch, rows from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    /// Rows of patches.
    pub rows: usize,
    /// Columns of patches.
    pub cols: usize,
    /// The values, row by row: `rows · cols` of them.
    pub values: Vec<f32>,
}

impl Heatmap {
    /// A map of the last `rows · cols` of these values; those before them belong to the class token and its like.
    pub(super) fn of_patches((rows, cols): (usize, usize), values: &[f32]) -> Result<Heatmap> {
        let first = values.len().checked_sub(rows * cols).ok_or_else(|| {
            let reason = format!("{} values for a grid of {rows}x{cols} patches", values.len());
            Error::argument("attention", reason)
        })?;
        Ok(Heatmap { rows, cols, values: values[first..].to_vec() })
    }

    /// The smallest and the largest value.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        let fold = |start, pick: fn(f32, f32) -> f32| self.values.iter().copied().fold(start, pick);
        (fold(f32::INFINITY, f32::min), fold(f32::NEG_INFINITY, f32::max))
    }

    /// The mean of maps of the same size; `None` of none.
    #[must_use]
    pub fn mean(maps: &[Heatmap]) -> Option<Heatmap> {
        let first = maps.first()?;
        let values = (0..first.values.len()).map(|i| {
            let sum: f64 = maps.iter().filter_map(|map| map.values.get(i)).map(|value| f64::from(*value)).sum();
            (sum / maps.len() as f64) as f32
        });
        Some(Heatmap { values: values.collect(), ..*first })
    }
}
