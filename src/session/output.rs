//! What a session gives.

use crate::error::{Error, Result};
use crate::graph::Graph;

/// A named result, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `logits`, `pooled`, `last_hidden_state` or `hidden_states.i`.
    pub name: String,
    /// Its shape, batch first.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Results of one forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs(pub Vec<Output>);

impl Outputs {
    /// The result called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Output> {
        self.0.iter().find(|output| output.name == name)
    }

    /// Values of the result called `name`, split by image.
    pub(super) fn rows(&self, name: &str) -> Result<Vec<Vec<f32>>> {
        let output = self.get(name).ok_or_else(|| Error::shape(name, "the model does not give it"))?;
        let row = output.values.len() / output.shape[0].max(1);
        Ok(output.values.chunks_exact(row.max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Appends one batch's results to those of the batches before.
pub(super) fn join(joined: &mut Vec<Output>, graph: &Graph, results: Vec<Vec<f32>>) {
    for (i, ((name, id), values)) in graph.outputs.iter().zip(results).enumerate() {
        let shape = &graph.tensor(*id).shape;
        match joined.get_mut(i) {
            Some(output) => {
                output.shape[0] += shape[0];
                output.values.extend(values);
            }
            None => joined.push(Output { name: name.clone(), shape: shape.clone(), values }),
        }
    }
}
