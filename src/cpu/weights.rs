//! A model's weights on the processor: read once, products' weights laid out for their kernel.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::amx::Amx;
use super::int8;
use super::linear::Matrix;
use super::memory::zeros;
use super::pack::Packed;
use super::pages::Arena;
use crate::error::Result;
use crate::graph::{Graph, Precision, TensorId, WeightRef};
use crate::model::WeightLoader;
use crate::ops::Op;

/// A weight in the form in which it is used.
pub enum Weight {
    Plain(Vec<f32>),
    /// The weight of a linear layer, laid out for the product.
    Matrix(Matrix),
}

/// The weights that are loaded.
pub type Weights = HashMap<WeightRef, Arc<Weight>>;

/// The weights of a graph's tensors, by position; `None` for tensors of another kind.
pub type OfTensors = Vec<Option<Arc<Weight>>>;

/// The weights of a graph's tensors, unless one is not loaded yet.
pub fn of_tensors(weights: &Weights, graph: &Graph) -> Option<OfTensors> {
    let mut found = vec![None; graph.tensors().len()];
    for (id, at) in graph.weight_ids() {
        found[id.index()] = Some(Arc::clone(weights.get(at)?));
    }
    Some(found)
}

/// Loads the weights that a graph reads and that are not in `known`.
///
/// # Errors
/// Errors of reading the checkpoint.
pub fn load(loader: &dyn WeightLoader, graph: &Graph, known: &HashSet<WeightRef>) -> Result<Weights> {
    let products = graph.nodes().iter().filter(|node| matches!(node.op, Op::Linear(_)));
    let matrices: HashSet<TensorId> = products.filter_map(|node| node.inputs[1]).collect();
    let (mut loaded, mut arena) = (Weights::new(), Arena::large());
    for (id, at) in graph.weight_ids() {
        if known.contains(at) || loaded.contains_key(at) {
            continue;
        }
        let tensor = graph.tensor(id);
        let mut values = zeros(&at.name, tensor.len())?;
        loader.load(&at.name, at.rows.map_or(0, |(first, _)| first), &mut values)?;
        let weight = match tensor.shape[..] {
            [n, k] if matrices.contains(&id) => {
                // Only the blocks are rounded: patch embedding and head take little time, and their errors reach the result
                // undamped.
                let block = at.name.trim_start_matches("text.").starts_with("blocks.");
                Weight::Matrix(match Amx::here() {
                    _ if graph.precision() == Precision::I8 && block && k <= int8::LARGEST_K => {
                        Matrix::Int8(int8::Weights::new(&mut arena, &values, n, k)?)
                    }
                    Some(amx) if block => Matrix::Bf16x3(amx, Packed::new(&mut arena, &values, n, k)?),
                    _ => Matrix::F32(Packed::new(&mut arena, &values, n, k)?),
                })
            }
            _ => Weight::Plain(values),
        };
        loaded.insert(at.clone(), Arc::new(weight));
    }
    Ok(loaded)
}
