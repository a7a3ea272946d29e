//! The results of a session.

use crate::error::{Error, Result};
use crate::graph::{Graph, Precision};

/// One output of the model: its name, shape and values in row-major order. Shapes: `logits` `[B, K]`, `pooled` `[B, F]`,
/// `last_hidden_state` and `hidden_states.i` `[B, T, D]`, `attentions.i` `[B, H, queries, keys]`, with B images, K classes, F values of
/// an embedding, T tokens, D values of a token, H heads.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `logits`, `pooled`, `last_hidden_state`, `hidden_states.i` or `attentions.i`.
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
}

impl Output {
    /// Number of values of one image.
    fn row(&self) -> usize {
        (self.values.len() / self.shape[0].max(1)).max(1)
    }
}

/// Results that were not yet checked for NaNs and infinities.
pub struct Unchecked {
    pub outputs: Outputs,
    pub precision: Precision,
    /// Outputs that depend on a weight with a NaN or an infinity, each with the name of such a weight.
    pub affected: Vec<(String, String)>,
}

impl Unchecked {
    /// The values of the output `name` for each image, or an error for an image whose values are not finite. Logits are also
    /// refused if the pooled vector that they are computed from is not finite, because an activation may hide that.
    pub fn rows(&self, name: &str) -> Result<Vec<Result<Vec<f32>>>> {
        let output = self.outputs.get(name).ok_or_else(|| Error::shape(name, "the model has no such output"))?;
        let source = self.outputs.get("pooled").filter(|_| name == "logits");
        let row = |i, values: &[f32]| {
            let checked = source.into_iter().chain([output]).find_map(|output| self.not_finite(output, i));
            checked.map_or_else(|| Ok(values.to_vec()), Err)
        };
        Ok(output.values.chunks_exact(output.row()).enumerate().map(|(i, values)| row(i, values)).collect())
    }

    /// The results, or an error if any value is not finite.
    pub fn finite(self) -> Result<Outputs> {
        let rows = |output: &Output| 0..output.shape[0];
        let all = self.outputs.0.iter();
        let found = all.flat_map(|output| rows(output).map(move |i| (output, i)));
        match found.into_iter().find_map(|(output, i)| self.not_finite(output, i)) {
            Some(error) => Err(error),
            None => Ok(self.outputs),
        }
    }

    /// The error of image `i`, if any of its values in an output is not finite.
    fn not_finite(&self, output: &Output, i: usize) -> Option<Error> {
        let len = output.row();
        let weight = self.affected.iter().find(|(name, _)| *name == output.name).map(|(_, weight)| weight.clone());
        let finite = output.values[i * len..(i + 1) * len].iter().all(|value| value.is_finite());
        (!finite || weight.is_some()).then(|| Error::NotFinite {
            output: output.name.clone(),
            row: i,
            image: None,
            weight,
            precision: self.precision.name(),
        })
    }
}

/// Appends one batch's results to those of the batches before.
pub(super) fn join(joined: &mut Vec<Output>, graph: &Graph, results: Vec<Vec<f32>>) {
    for (i, ((name, id), values)) in graph.outputs().iter().zip(results).enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, values: &[f32]) -> Output {
        Output { name: name.into(), shape: vec![3, values.len() / 3], values: values.to_vec() }
    }

    #[test]
    fn an_image_whose_values_are_not_finite_fails_alone() {
        let pooled = output("pooled", &[1.0, f32::INFINITY, 2.0]);
        let logits = output("logits", &[1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
        let outputs = Outputs(vec![pooled, logits]);
        let mut outputs = Unchecked { outputs, precision: Precision::F32, affected: Vec::new() };
        let which = |name: &str| {
            let rows = outputs.rows(name).unwrap();
            rows.into_iter().map(|row| row.map_err(|error| error.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(which("pooled")[0], Ok(vec![1.0]));
        assert_eq!(which("pooled")[2], Ok(vec![2.0]));
        let logits = which("logits");
        assert_eq!(logits[0], Ok(vec![1.0, 2.0]));
        let said = |row: &Result<_, String>| row.as_ref().unwrap_err().clone();
        assert!(said(&logits[1]).starts_with("row 1 of the batch: `pooled` is not finite in f32"), "{logits:?}");
        assert!(said(&logits[2]).starts_with("row 2 of the batch: `logits` is not finite in f32"), "{logits:?}");
        (outputs.precision, outputs.affected) = (Precision::F16, vec![("logits".into(), "head.bias".into())]);
        let said = outputs.rows("logits").unwrap()[0].as_ref().unwrap_err().to_string();
        assert!(said.contains("weight `head.bias` holds"), "{said}");
        assert!(outputs.rows("pooled").unwrap()[0].is_ok());
        let error = outputs.finite().unwrap_err();
        assert!(error.is_input() && error.to_string().contains("range of f16"), "{error}");
    }
}
