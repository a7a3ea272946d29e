//! How a canonical weight is made from the tensors of a file: by concatenating, reshaping and permuting, without changing values.

use std::collections::HashMap;

use super::tensors::Tensors;
use crate::error::{Error, Result};
use crate::model::WeightLoader;

/// One tensor of the file, or some of its rows: the shape it must have, and how it is permuted if its layout differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name in the file, without the prefixes that [`super::Names`] strips.
    pub tensor: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Index of the first value that is used.
    first: usize,
    /// The shape as which the used values are interpreted.
    view: Vec<usize>,
    /// The new order of the axes; `None` leaves them as they are.
    axes: Option<Vec<usize>>,
}

impl Part {
    /// A whole tensor in its own layout.
    pub fn new(tensor: impl Into<String>, shape: &[usize]) -> Part {
        Part { tensor: tensor.into(), shape: shape.to_vec(), first: 0, view: shape.to_vec(), axes: None }
    }

    /// Uses only `count` rows along the first axis, beginning at row `first`.
    #[must_use]
    pub fn rows(mut self, first: usize, count: usize) -> Part {
        self.first = first * self.shape[1..].iter().product::<usize>();
        self.view[0] = count;
        self
    }

    /// Interprets the used values with the shape `view`, then puts the axes in the order `axes`.
    #[must_use]
    pub fn permuted(mut self, view: &[usize], axes: &[usize]) -> Part {
        (self.view, self.axes) = (view.to_vec(), Some(axes.to_vec()));
        self
    }

    fn len(&self) -> usize {
        self.view.iter().product()
    }
}

/// The parts that make up a canonical weight, one after another.
pub type Recipe = Vec<Part>;

/// Loads canonical weights by their recipes.
pub struct RecipeLoader {
    pub tensors: Tensors,
    /// Canonical name to parts, whose names are those in the file.
    pub recipes: HashMap<String, (Vec<usize>, Recipe)>,
}

impl WeightLoader for RecipeLoader {
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()> {
        let Some((shape, parts)) = self.recipes.get(name) else {
            return Err(Error::model(&self.tensors.name, format!("the model has no weight `{name}`")));
        };
        let mut skip = first_row * shape[1..].iter().product::<usize>();
        let mut out = out;
        for part in parts {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            let take = out.len().min(part.len() - skip);
            let (piece, rest) = out.split_at_mut(take);
            match &part.axes {
                None => self.tensors.read(&part.tensor, part.first + skip, piece)?,
                Some(axes) => {
                    let mut values = vec![0.0; part.len()];
                    self.tensors.read(&part.tensor, part.first, &mut values)?;
                    piece.copy_from_slice(&permuted(&values, &part.view, axes)[skip..skip + take]);
                }
            }
            (out, skip) = (rest, 0);
        }
        if out.is_empty() {
            Ok(())
        } else {
            Err(Error::model(&self.tensors.name, format!("weight `{name}` is too short")))
        }
    }
}

/// `values`, seen as `view`, with its axes in the order `axes`.
fn permuted(values: &[f32], view: &[usize], axes: &[usize]) -> Vec<f32> {
    let strides: Vec<usize> = (0..view.len()).map(|axis| view[axis + 1..].iter().product()).collect();
    let mut index = vec![0usize; axes.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[index.iter().zip(axes).map(|(i, &axis)| i * strides[axis]).sum::<usize>()]);
        for (i, &axis) in index.iter_mut().zip(axes).rev() {
            *i += 1;
            if *i < view[axis] {
                break;
            }
            *i = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn permuting_moves_axes() {
        let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let out = super::permuted(&values, &[2, 3, 4], &[2, 0, 1]);
        // out[k][i][j] = values[i][j][k]
        assert_eq!(out[..6], [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]);
        assert_eq!(out[23], 23.0);
        assert_eq!(super::permuted(&values, &[24], &[0]), values);
    }
}
