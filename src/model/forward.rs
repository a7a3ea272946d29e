//! The forward pass, written once, top to bottom. Both executors run the graph built here.

use super::{Head, VitConfig};
use crate::error::{Error, Result};
use crate::graph::{Dtype, Graph, Precision, TensorId};
use crate::ops::{
    Activation, Add, Attention, LayerNorm, Linear, Op, PixelSource, Pool, PoolKind, Strides, Tokens, Unfold,
};

/// What the pixels are given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// `pixels` u8 `[B, H, W, C]` with the table `normalize` f32 `[C, 256]`.
    Bytes,
    /// `pixel_values` f32 `[B, C, H, W]`, already normalised.
    Planes,
}

/// One shape of forward pass: what goes in and what is wanted out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// B.
    pub batch: usize,
    /// How pixels come in.
    pub input: Input,
    /// Keep `last_hidden_state` `[B, T, D]`.
    pub last_hidden_state: bool,
    /// Keep `hidden_states.i`, the input of block i, and the last block's output.
    pub taps: bool,
    /// What weights and activations are stored in.
    pub precision: Precision,
}

/// Builds the graph of one request. Outputs: `logits` `[B, K]` where there is a head, `pooled` `[B, F]`, and what else was asked for.
///
/// No tensor passes `limit` bytes where the model allows it: q, k and v become three products, the MLP runs in row
/// pieces, the head in column pieces. Batches are cut by the caller, since images are independent.
///
/// # Errors
/// [`Error::Shape`] if an operation's operands do not fit, which a validated configuration rules out.
pub fn build(cfg: &VitConfig, request: Request, limit: u64) -> Result<Graph> {
    let mut pass = Forward { graph: Graph::new(request.precision), cfg, batch: request.batch, limit };
    let mut x = pass.embed(request.input)?;
    for i in 0..cfg.depth {
        if request.taps {
            pass.graph.output(&format!("hidden_states.{i}"), x);
        }
        x = pass.block(i, x)?;
    }
    if request.taps {
        pass.graph.output(&format!("hidden_states.{}", cfg.depth), x);
    }

    // A norm works row by row, so where one token is pooled only that token needs it; the whole state is normalised
    // when it is asked for or when it is averaged.
    let tokens_normed = cfg.final_norm && (request.last_hidden_state || matches!(cfg.pool, PoolKind::Mean(_)));
    if tokens_normed {
        x = pass.norm("norm", x)?;
    }
    if request.last_hidden_state {
        pass.graph.output("last_hidden_state", x);
    }
    let norm_pooled = cfg.final_norm && !tokens_normed;
    let pooled = pass.pool("pool", x, cfg.pool, norm_pooled)?;
    pass.graph.output("pooled", pooled);
    let logits = match cfg.head {
        Head::None => return Ok(pass.graph),
        Head::Linear => pass.head("head", pooled)?,
        Head::Distilled => {
            let first = pass.head("head", pooled)?;
            let second = pass.pool("pool_dist", x, PoolKind::Token(1), norm_pooled)?;
            let second = pass.head("head_dist", second)?;
            pass.mean("head_mean", first, second)?
        }
    };
    pass.graph.output("logits", logits);
    Ok(pass.graph)
}

struct Forward<'a> {
    graph: Graph,
    cfg: &'a VitConfig,
    batch: usize,
    limit: u64,
}

/// What follows a product before its result is stored.
#[derive(Default)]
struct Epilogue {
    act: Activation,
    gamma: Option<TensorId>,
    residual: Option<TensorId>,
}

impl Forward<'_> {
    /// Pixels to tokens `[B, T, D]`.
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
        };
        let (batch, chans, patch) = (self.batch, cfg.in_chans, cfg.patch_size);
        let unfold = Unfold { batch, chans, size: cfg.img_size, patch, source };
        let patches = cfg.grid().0 * cfg.grid().1;
        let unfolded = self.graph.activation("patch_embed.unfold", &[batch, patches, cfg.patch_len()]);
        self.graph.push("patch_embed.unfold", Op::Unfold(unfold), operands, unfolded)?;
        let projected =
            self.linear("patch_embed.proj", unfolded, cfg.embed_dim, cfg.patch_bias, Epilogue::default())?;

        let width = cfg.embed_dim;
        let prefix = cfg.prefix_tokens();
        let prefix_tokens = (prefix > 0).then(|| self.graph.weight("prefix_tokens", &[prefix, width]));
        let pos = self.graph.weight("pos_embed", &[cfg.pos_prefix + patches, width]);
        let tokens = Tokens { batch, patches, width, prefix, pos_prefix: cfg.pos_prefix, pos: true };
        let x = self.graph.activation("tokens", &[batch, prefix + patches, width]);
        self.graph.push("tokens", Op::Tokens(tokens), vec![Some(projected), prefix_tokens, Some(pos)], x)?;
        if cfg.pre_norm { self.norm("norm_pre", x) } else { Ok(x) }
    }

    /// `x + ls1(attn(norm1(x)))`, then `x + ls2(mlp(norm2(x)))`.
    fn block(&mut self, i: usize, x: TensorId) -> Result<TensorId> {
        let at = |name: &str| format!("blocks.{i}.{name}");
        let normed = self.norm(&at("norm1"), x)?;
        let mixed = self.attention(&at("attn"), normed)?;
        let gamma = self.layer_scale(&at("ls1"));
        let epilogue = Epilogue { gamma, residual: Some(x), ..Epilogue::default() };
        let x = self.linear(&at("attn.proj"), mixed, self.cfg.embed_dim, true, epilogue)?;
        let normed = self.norm(&at("norm2"), x)?;
        self.mlp(i, normed, x)
    }

    fn layer_scale(&mut self, name: &str) -> Option<TensorId> {
        self.cfg.layer_scale.then(|| self.graph.weight(&format!("{name}.gamma"), &[self.cfg.embed_dim]))
    }

    /// q, k and v in one product, or in three where that tensor would pass the limit; then the fused attention.
    fn attention(&mut self, name: &str, x: TensorId) -> Result<TensorId> {
        let cfg = self.cfg;
        let (tokens, width) = (self.graph.tensor(x).shape[1], cfg.attn_dim());
        let mut op = Attention::packed(self.batch, tokens, cfg.num_heads, cfg.head_dim, cfg.attn_scale);
        op.post_scale = cfg.attn_post_scale;
        let qkv = format!("{name}.qkv");
        let operands = if 3 * self.graph.precision.bytes() * (self.batch * tokens * width) as u64 <= self.limit {
            let packed = self.linear(&qkv, x, 3 * width, cfg.qkv_bias, Epilogue::default())?;
            [packed; 3]
        } else {
            let alone = Strides { offset: 0, outer: tokens * width, seq: width };
            (op.q, op.k, op.v) = (alone, alone, alone);
            let mut part = |i: usize| self.linear_rows(&qkv, x, i * width, width, cfg.qkv_bias);
            [part(0)?, part(1)?, part(2)?]
        };
        let out = self.graph.activation(name, &[self.batch, tokens, width]);
        self.graph.push(name, Op::Attention(op), operands.map(Some).to_vec(), out)?;
        Ok(out)
    }

    /// `residual + ls2(fc2(act(fc1(x))))`, in as many row pieces as keep the hidden layer under the limit.
    fn mlp(&mut self, i: usize, x: TensorId, residual: TensorId) -> Result<TensorId> {
        let (d, hidden) = (self.cfg.embed_dim, self.cfg.mlp_hidden);
        let shape = self.graph.tensor(x).shape.clone();
        let rows = shape[0] * shape[1];
        let step = ((self.limit / (self.graph.precision.bytes() * hidden as u64)) as usize).clamp(1, rows);
        let fc1 = format!("blocks.{i}.mlp.fc1");
        let fc2 = format!("blocks.{i}.mlp.fc2");
        let (w1, b1) = (self.graph.weight(&format!("{fc1}.weight"), &[hidden, d]), self.bias(&fc1, hidden, true));
        let (w2, b2) = (self.graph.weight(&format!("{fc2}.weight"), &[d, hidden]), self.bias(&fc2, d, true));
        let gamma = self.layer_scale(&format!("blocks.{i}.ls2"));
        let out = self.graph.activation(&fc2, &shape);
        for first in (0..rows).step_by(step) {
            let m = step.min(rows - first);
            let h = self.graph.activation(&fc1, &[m, hidden]);
            let op = Linear { act: self.cfg.act, bias: true, x_row: first, ..Linear::new(m, d, hidden) };
            self.graph.push(&fc1, Op::Linear(op), vec![Some(x), Some(w1), b1, None, None], h)?;
            let op = Linear {
                bias: true,
                gamma: gamma.is_some(),
                residual: true,
                y_row: first,
                ..Linear::new(m, hidden, d)
            };
            self.graph.push(&fc2, Op::Linear(op), vec![Some(h), Some(w2), b2, gamma, Some(residual)], out)?;
        }
        Ok(out)
    }

    fn norm(&mut self, name: &str, x: TensorId) -> Result<TensorId> {
        let shape = self.graph.tensor(x).shape.clone();
        let op = LayerNorm::over(&shape, 1, self.cfg.norm_eps);
        let weight = self.graph.weight(&format!("{name}.weight"), &[op.len]);
        let bias = self.graph.weight(&format!("{name}.bias"), &[op.len]);
        let y = self.graph.activation(name, &shape);
        self.graph.push(name, Op::LayerNorm(op), vec![Some(x), Some(weight), Some(bias)], y)?;
        Ok(y)
    }

    /// Pools tokens, normalises what is left (`norm` where it was put off, `fc_norm`), applies the tanh layer if there is one.
    fn pool(&mut self, name: &str, x: TensorId, kind: PoolKind, norm: bool) -> Result<TensorId> {
        let shape = self.graph.tensor(x).shape.clone();
        let op = Pool { batch: shape[0], tokens: shape[1], width: shape[2], kind };
        let mut pooled = self.graph.activation(name, &[shape[0], shape[2]]);
        self.graph.push(name, Op::Pool(op), vec![Some(x)], pooled)?;
        if norm {
            pooled = self.norm("norm", pooled)?;
        }
        if self.cfg.fc_norm {
            pooled = self.norm("fc_norm", pooled)?;
        }
        if let Some(width) = self.cfg.pre_logits {
            let tanh = Epilogue { act: Activation::Tanh, ..Epilogue::default() };
            pooled = self.linear("pre_logits.fc", pooled, width, true, tanh)?;
        }
        Ok(pooled)
    }

    /// Logits, in as many column pieces as keep each piece of the weight under the limit.
    fn head(&mut self, name: &str, pooled: TensorId) -> Result<TensorId> {
        let (classes, k) = (self.cfg.num_classes, self.cfg.pooled_dim());
        let step = ((self.limit / (self.graph.precision.bytes() * k as u64)) as usize).clamp(1, classes.max(1));
        let logits = self.graph.activation(name, &[self.batch, classes]);
        for first in (0..classes).step_by(step) {
            let n = step.min(classes - first);
            let whole = n == classes;
            let (weight, bias) = if whole {
                (self.graph.weight(&format!("{name}.weight"), &[n, k]), self.bias(name, n, true))
            } else {
                self.rows_of(name, first, n, k, true)
            };
            let op = Linear { bias: true, y_col: first, ld: classes, ..Linear::new(self.batch, k, n) };
            self.graph.push(name, Op::Linear(op), vec![Some(pooled), Some(weight), bias, None, None], logits)?;
        }
        Ok(logits)
    }

    fn mean(&mut self, name: &str, a: TensorId, b: TensorId) -> Result<TensorId> {
        let shape = self.graph.tensor(a).shape.clone();
        let y = self.graph.activation(name, &shape);
        let op = Add { len: shape.iter().product(), scale: 0.5 };
        self.graph.push(name, Op::Add(op), vec![Some(a), Some(b)], y)?;
        Ok(y)
    }

    /// `x [.., k]` to `[.., n]` through `name.weight` and `name.bias`.
    fn linear(&mut self, name: &str, x: TensorId, n: usize, bias: bool, epilogue: Epilogue) -> Result<TensorId> {
        let k = self.last_axis(x)?;
        let weight = self.graph.weight(&format!("{name}.weight"), &[n, k]);
        let bias = self.bias(name, n, bias);
        self.product(name, x, weight, bias, epilogue)
    }

    /// The same through rows `first..first + n` of the weight and the bias.
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
