//! The canonical weights: their names (timm's), their shapes, and how an executor asks for them.

use super::{Input, Maps, Request, TEXT, Taps, TextConfig, VitConfig, build};
use crate::error::Result;
use crate::graph::{Graph, Kind, Precision};

/// A weight the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// Canonical name.
    pub name: String,
    /// Row-major shape; matrices are `[out, in]`.
    pub shape: Vec<usize>,
}

/// Gives an executor its weights one at a time, so that no second copy of the model is ever in memory.
pub trait WeightLoader: Send + Sync {
    /// Fills `out` with the values of the weight `name` from row `first_row` on, as f32. The length of `out` says how many.
    ///
    /// # Errors
    /// Whatever reading the checkpoint can fail with.
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()>;
}

/// Every weight of a configuration, in the order in which the forward pass uses them. The list is taken from the graph that [`build`] makes.
///
/// # Errors
/// As [`build`].
pub fn weight_specs(cfg: &VitConfig) -> Result<Vec<WeightSpec>> {
    let (input, precision) = (Input::Planes, Precision::F32);
    let graph = build(
        cfg,
        Request {
            batch: cfg.weight_batch(),
            input,
            last_hidden_state: true,
            taps: Taps::None,
            maps: Maps::None,
            precision,
        },
        u64::MAX,
    )?;
    Ok(specs_of(&graph))
}

/// Every weight of a text tower, in the order in which they are used: those of its graph, whose names begin with [`TEXT`], after
/// the tables of tokens and positions, which are read row by row, and before the scale and the bias of logits, `[1]` each.
///
/// # Errors
/// As [`build`].
pub fn text_weight_specs(cfg: &TextConfig) -> Result<Vec<WeightSpec>> {
    let (input, precision) = (Input::Tokens, Precision::F32);
    let request = Request { batch: 1, input, last_hidden_state: false, taps: Taps::None, maps: Maps::None, precision };
    let spec = |name: &str, shape: &[usize]| WeightSpec { name: format!("{TEXT}{name}"), shape: shape.to_vec() };
    let mut specs =
        vec![spec("token_embed", &[cfg.vocab_size, cfg.embed_dim]), spec("pos_embed", &[cfg.context, cfg.embed_dim])];
    specs.extend(specs_of(&build(&cfg.tower(cfg.context, cfg.context - 1, cfg.context), request, u64::MAX)?));
    specs.push(spec("logit_scale", &[1]));
    specs.extend(cfg.logit_bias.then(|| spec("logit_bias", &[1])));
    Ok(specs)
}

fn specs_of(graph: &Graph) -> Vec<WeightSpec> {
    let mut specs: Vec<WeightSpec> = Vec::new();
    for tensor in graph.tensors() {
        let Kind::Weight(weight) = &tensor.kind else { continue };
        let mut shape = tensor.shape.clone();
        shape[0] += weight.rows.map_or(0, |(first, _)| first);
        match specs.iter_mut().rev().find(|spec| spec.name == weight.name) {
            // Several products may read rows of one weight.
            Some(spec) => spec.shape[0] = spec.shape[0].max(shape[0]),
            None => specs.push(WeightSpec { name: weight.name.clone(), shape }),
        }
    }
    specs
}
