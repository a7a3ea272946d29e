//! The forward pass, written once, top to bottom: here, in [`block`], in [`head`]. Both executors run the graph built here.

mod block;
mod head;
mod maps;

use super::text::TEXT;
use super::{Batch, Head, NormAxes, Pooling, VitConfig};
use crate::error::{Error, Result};
use crate::graph::{Dtype, Graph, Precision, TensorId};
use crate::ops::{Activation, LayerNorm, Linear, Op, PixelSource, PoolKind, Tokens, Unfold};

/// The form in which pixels are passed to the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// `pixels` u8 `[B, H, W, C]` with the table `normalize` f32 `[C, 256]`.
    Bytes,
    /// `pixel_values` f32 `[B, C, H, W]`, already normalised.
    Planes,
    /// `token_values` f32 `[B, T, D]`: a text's tokens, positions added.
    Tokens,
    /// `last_normed` `[B, T, D]`, floats of the graph's precision: what the attention of the last block is given. The pass begins
    /// there, and there are no `hidden_states`. Only for [`super::Block::PreNorm`].
    LastNormed,
}

/// Which hidden states become outputs. `hidden_states.i` is the input of block i; for i = depth it is the last block's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taps {
    /// None.
    None,
    /// Every one.
    All,
    /// This one.
    Only(usize),
}

impl Taps {
    fn wants(self, i: usize) -> bool {
        match self {
            Taps::None => false,
            Taps::All => true,
            Taps::Only(wanted) => i == wanted,
        }
    }
}

/// Outputs that show what happens within blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Maps {
    /// None.
    None,
    /// The attention of the layers from `first` to before `end`. Layers are the blocks, and behind them, if the model pools by
    /// attention, the pooling. The heads of layer i from head h on are `attentions.i.h`, `[B, heads, queries, keys]`: all of
    /// them from 0 on, or several parts if one would pass the limit.
    Attention {
        /// The first layer.
        first: usize,
        /// The layer after the last.
        end: usize,
    },
    /// `last_normed` `[B, T, D]`, which [`Input::LastNormed`] takes.
    LastNormed,
}

/// Describes one forward pass: the form of its input, and which outputs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Number of images in a batch (B).
    pub batch: usize,
    /// The form in which pixels are passed.
    pub input: Input,
    /// Keep `last_hidden_state` `[B, T, D]`.
    pub last_hidden_state: bool,
    /// Which `hidden_states.i` are kept.
    pub taps: Taps,
    /// Which outputs show what happens within blocks.
    pub maps: Maps,
    /// What weights and activations are stored in.
    pub precision: Precision,
}

/// Builds the graph of one request. Its outputs are `logits` `[B, K]` if the model has a head, `pooled` `[B, F]`, and those requested.
///
/// If a tensor would be larger than `limit` bytes, its operation is split: q, k and v become three products, the MLP runs in groups of
/// rows, the head in groups of columns. Batches are split by the caller, since images are independent.
///
/// # Errors
/// [`Error::Config`] for a configuration that is not valid; [`Error::Shape`] if an operation's operands do not fit.
pub fn build(cfg: &VitConfig, request: Request, limit: u64) -> Result<Graph> {
    cfg.validate("the configuration")?;
    let (batch, maps) = (request.batch, request.maps);
    let graph = match request.input {
        Input::Tokens => Graph::named(request.precision, TEXT),
        Input::Bytes | Input::Planes | Input::LastNormed => Graph::new(request.precision),
    };
    let mut pass = Forward { graph, cfg, batch, limit, classes: None, maps, layer: 0, head: 0 };
    let only = last_token(cfg, request);
    if request.input == Input::LastNormed {
        let x = pass.rest(only)?;
        pass.finish(x, request.last_hidden_state)?;
        return Ok(pass.graph);
    }
    let mut x = pass.embed(request.input)?;
    for i in 0..cfg.depth {
        if request.taps.wants(i) {
            pass.graph.output(&format!("hidden_states.{i}"), x)?;
        }
        x = pass.block(i, x, only.filter(|_| i + 1 == cfg.depth))?;
        pass.keep_class(i, x)?;
        (pass.layer, pass.head) = (i + 1, 0);
    }
    if request.taps.wants(cfg.depth) {
        pass.graph.output(&format!("hidden_states.{}", cfg.depth), x)?;
    }
    pass.finish(x, request.last_hidden_state)?;
    Ok(pass.graph)
}

/// If only one token of the last block's output is read, its position; the other tokens then need not be computed.
fn last_token(cfg: &VitConfig, request: Request) -> Option<usize> {
    let Pooling::Tokens(PoolKind::Token(token)) = cfg.pool else { return None };
    let whole = request.last_hidden_state
        || request.taps.wants(cfg.depth)
        || request.maps.of_layer(cfg.depth.saturating_sub(1))
        || cfg.head == Head::Distilled
        || cfg.batch != Batch::Independent
        || cfg.norm_axes == NormAxes::Joint;
    (!whole).then_some(token)
}

struct Forward<'a> {
    graph: Graph,
    cfg: &'a VitConfig,
    batch: usize,
    limit: u64,
    /// The class tokens of the last blocks, `[B, layers, D]`, if the pooling needs them.
    classes: Option<TensorId>,
    maps: Maps,
    /// The layer whose attention is computed next, and how many of its heads are there already.
    layer: usize,
    head: usize,
}

/// Steps applied to a product's result before it is stored: activation, layer scale, residual.
#[derive(Default)]
struct Epilogue {
    act: Activation,
    gamma: Option<TensorId>,
    residual: Option<TensorId>,
}

impl Forward<'_> {
    /// Turns pixels into tokens `[B, T, D]`.
    fn embed(&mut self, input: Input) -> Result<TensorId> {
        let cfg = self.cfg;
        let (h, w) = cfg.img_size;
        let (source, operands) = match input {
            Input::Bytes => {
                let pixels = self.graph.input("pixels", &[self.batch, h, w, cfg.in_chans], Dtype::U8);
                let table = self.graph.input("normalize", &[cfg.in_chans, 256], Dtype::F32);
                (PixelSource::Bytes, vec![Some(pixels), Some(table)])
            }
            Input::Planes => {
                let planes = self.graph.input("pixel_values", &[self.batch, cfg.in_chans, h, w], Dtype::F32);
                (PixelSource::Planes, vec![Some(planes)])
            }
            Input::Tokens => {
                let tokens = self.graph.input("token_values", &[self.batch, cfg.tokens(), cfg.embed_dim], Dtype::F32);
                (PixelSource::Planes, vec![Some(tokens)])
            }
            Input::LastNormed => return Err(Error::shape("last_normed", "is no picture")),
        };
        let (batch, chans, patch) = (self.batch, cfg.in_chans, cfg.patch_size);
        let unfold = Unfold { batch, chans, size: cfg.img_size, patch, source };
        let patches = cfg.grid().0 * cfg.grid().1;
        let unfolded = self.graph.activation("patch_embed.unfold", &[batch, patches, cfg.patch_len()]);
        self.graph.push("patch_embed.unfold", Op::Unfold(unfold), operands, unfolded)?;
        let mut projected = unfolded;
        if cfg.patch_norm {
            projected = self.norm("patch_embed.patch_norm", projected)?;
        }
        if cfg.patch_proj {
            projected =
                self.linear("patch_embed.proj", projected, cfg.embed_dim, cfg.patch_bias, Epilogue::default())?;
        }
        if cfg.embed_norm {
            projected = self.norm("patch_embed.norm", projected)?;
        }

        let width = cfg.embed_dim;
        let prefix = cfg.prefix_tokens();
        let prefix_tokens = (prefix > 0).then(|| self.graph.weight("prefix_tokens", &[prefix, width]));
        let pos = cfg.pos_embed.then(|| self.graph.weight("pos_embed", &[cfg.pos_prefix + patches, width]));
        let tokens = Tokens { batch, patches, width, prefix, pos_prefix: cfg.pos_prefix, pos: cfg.pos_embed };
        let x = self.graph.activation("tokens", &[batch, prefix + patches, width]);
        self.graph.push("tokens", Op::Tokens(tokens), vec![Some(projected), prefix_tokens, pos], x)?;
        if cfg.pre_norm { self.norm("norm_pre", x) } else { Ok(x) }
    }

    /// Normalises over the last axis, or over all of them.
    fn norm(&mut self, name: &str, x: TensorId) -> Result<TensorId> {
        let shape = self.graph.tensor(x).shape.clone();
        match self.cfg.norm_axes {
            NormAxes::Channels => self.norm_by(name, x, &[self.last_axis(x)?], &shape),
            NormAxes::Joint => self.norm_by(name, x, &shape, &shape),
        }
    }

    /// Normalises groups of values, each as large as the weight's shape.
    fn norm_by(&mut self, name: &str, x: TensorId, weight: &[usize], shape: &[usize]) -> Result<TensorId> {
        let len = weight.iter().product();
        let groups = self.graph.tensor(x).len() / len;
        let op = LayerNorm { groups, len, eps: self.cfg.norm_eps, rms: self.cfg.rms_norm };
        let bias = (!op.rms).then(|| self.graph.weight(&format!("{name}.bias"), weight));
        let weight = self.graph.weight(&format!("{name}.weight"), weight);
        let y = self.graph.activation(name, shape);
        self.graph.push(name, Op::LayerNorm(op), vec![Some(x), Some(weight), bias], y)?;
        Ok(y)
    }

    /// `x [.., k]` to `[.., n]` through `name.weight` and `name.bias`.
    fn linear(&mut self, name: &str, x: TensorId, n: usize, bias: bool, epilogue: Epilogue) -> Result<TensorId> {
        let k = self.last_axis(x)?;
        let weight = self.graph.weight(&format!("{name}.weight"), &[n, k]);
        let bias = self.bias(name, n, bias);
        self.product(name, x, weight, bias, epilogue)
    }

    /// Like [`Self::linear`], but uses only rows `first..first + n` of the weight and the bias.
    fn linear_rows(&mut self, name: &str, x: TensorId, first: usize, n: usize, bias: bool) -> Result<TensorId> {
        let k = self.last_axis(x)?;
        let (weight, bias) = self.rows_of(name, first, n, k, bias);
        self.product(name, x, weight, bias, Epilogue::default())
    }

    fn product(
        &mut self,
        name: &str,
        x: TensorId,
        weight: TensorId,
        bias: Option<TensorId>,
        epilogue: Epilogue,
    ) -> Result<TensorId> {
        let mut shape = self.graph.tensor(x).shape.clone();
        let k = self.last_axis(x)?;
        let n = self.graph.tensor(weight).shape[0];
        let m = self.graph.tensor(x).len() / k;
        if let Some(last) = shape.last_mut() {
            *last = n;
        }
        let Epilogue { act, gamma, residual } = epilogue;
        let flags = Linear {
            act,
            bias: bias.is_some(),
            gamma: gamma.is_some(),
            residual: residual.is_some(),
            ..Linear::new(m, k, n)
        };
        let y = self.graph.activation(name, &shape);
        self.graph.push(name, Op::Linear(flags), vec![Some(x), Some(weight), bias, gamma, residual], y)?;
        Ok(y)
    }

    fn bias(&mut self, name: &str, n: usize, there: bool) -> Option<TensorId> {
        there.then(|| self.graph.weight(&format!("{name}.bias"), &[n]))
    }

    fn rows_of(&mut self, name: &str, first: usize, n: usize, k: usize, bias: bool) -> (TensorId, Option<TensorId>) {
        let weight = self.graph.weight_rows(&format!("{name}.weight"), first, &[n, k]);
        let bias = bias.then(|| self.graph.weight_rows(&format!("{name}.bias"), first, &[n]));
        (weight, bias)
    }

    fn last_axis(&self, x: TensorId) -> Result<usize> {
        let tensor = self.graph.tensor(x);
        tensor.shape.last().copied().filter(|&k| k > 0).ok_or_else(|| Error::shape(&tensor.name, "has no elements"))
    }
}
