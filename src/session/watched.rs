//! Finds weights with NaNs or infinities, and the results that depend on them.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::model::Model;
use super::progress::{Listener, Progress};
use crate::error::Result;
use crate::graph::{Graph, Kind, Precision, TensorId};
use crate::model::{TEXT, WeightLoader, text_weight_specs, weight_specs};

/// A loader that remembers which weights hold a NaN, an infinity, or a value beyond the precision's range.
///
/// Checking only the results would miss some: GPUs may compute `exp(−∞)` and similar values differently, so a result can look finite.
pub struct Watched {
    inner: Arc<dyn WeightLoader>,
    largest: f32,
    found: Mutex<BTreeSet<String>>,
    /// Names of the weights that were read, how many the image half and the text half have, and whom to tell.
    read: Mutex<HashSet<String>>,
    counts: [usize; 2],
    listener: Listener,
}

impl Watched {
    pub fn new(model: &Model, precision: Precision, listener: Listener) -> Result<Watched> {
        // Larger values become infinities when they are rounded to f16.
        let largest = if precision == Precision::F16 { half::f16::MAX.to_f32() } else { f32::MAX };
        let inner = Arc::clone(&model.0.loader);
        let texts = model.0.text.as_ref().map_or(Ok(Vec::new()), |text| text_weight_specs(&text.config))?;
        let counts = [weight_specs(&model.0.config)?.len(), texts.iter().filter(|spec| runs(&spec.name)).count()];
        Ok(Watched { inner, largest, found: Mutex::default(), read: Mutex::default(), counts, listener })
    }

    /// For each output of a graph that depends on such weights, its name and the first of them.
    pub fn affected(&self, graph: &Graph) -> Vec<(String, String)> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() {
            return Vec::new();
        }
        let bad = |id: &TensorId| match &graph.tensor(*id).kind {
            Kind::Weight(at) => found.get(&at.name).cloned(),
            _ => None,
        };
        let outputs = graph.outputs().iter();
        outputs.filter_map(|(name, id)| Some((name.clone(), sources(graph, *id).iter().find_map(bad)?))).collect()
    }
}

impl WeightLoader for Watched {
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()> {
        self.inner.load(name, first_row, out)?;
        if !out.iter().all(|value| value.abs() <= self.largest) {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
        if !runs(name) {
            return Ok(());
        }
        let is_text = |name: &str| name.starts_with(TEXT);
        let done = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if !read.insert(name.to_owned()) {
                return Ok(());
            }
            read.iter().filter(|other| is_text(other) == is_text(name)).count()
        };
        self.listener.tell(Progress::Weights { done, of: self.counts[usize::from(is_text(name))] });
        Ok(())
    }
}

/// Whether a weight is read whenever its half runs: the scale and the bias of logits are not.
fn runs(name: &str) -> bool {
    !name.starts_with("text.logit_")
}

/// Every tensor that the tensor `id` depends on.
fn sources(graph: &Graph, id: TensorId) -> HashSet<TensorId> {
    let mut sources = HashSet::from([id]);
    for node in graph.nodes().iter().rev() {
        if sources.contains(&node.output) {
            sources.extend(node.inputs.iter().flatten());
        }
    }
    sources
}
