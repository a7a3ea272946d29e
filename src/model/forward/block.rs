//! One transformer block, for each arrangement of norms and branches (pre-norm, post-norm, parallel, …).

use super::{Epilogue, Forward};
use crate::error::Result;
use crate::graph::TensorId;
use crate::model::{Attends, Batch, Block, Mlp, VitConfig};
use crate::ops::{Add, Attention, Glu, Linear, Op, Pool, PoolKind, Strides};

/// The options of one MLP.
#[derive(Clone, Copy)]
pub(super) struct MlpShape {
    pub kind: Mlp,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Whether the first and the second product have a bias.
    pub bias: [bool; 2],
    /// Whether the hidden layer is normalised.
    pub norm: bool,
}

impl MlpShape {
    /// The MLP of the blocks.
    fn of(cfg: &VitConfig) -> MlpShape {
        // In a parallel block one product gives q, k, v and the MLP's hidden layer, so that layer's bias does not depend on `mlp_bias`.
        let first = cfg.mlp_bias || cfg.block == Block::ParallelScaling;
        MlpShape { kind: cfg.mlp, hidden: cfg.mlp_hidden, bias: [first, cfg.mlp_bias], norm: cfg.mlp_norm }
    }
}

impl Forward<'_> {
    /// Block `i`. With `only`, attention, MLP and residuals are computed for that token alone, and the result is `[B, 1, D]`.
    pub(super) fn block(&mut self, i: usize, x: TensorId, only: Option<usize>) -> Result<TensorId> {
        let at = |name: &str| format!("blocks.{i}.{name}");
        let kept = self.keep(x, only)?;
        match self.cfg.block {
            Block::PreNorm => {
                let normed = self.norm(&at("norm1"), x)?;
                self.last_normed(i, normed)?;
                self.after_norm(i, normed, only, kept)
            }
            Block::PostNorm => {
                let x = self.attention(&at("attn"), x, only, None, Some(kept))?;
                let x = self.norm(&at("norm1"), x)?;
                let x = self.mlp(&at("mlp"), MlpShape::of(self.cfg), x, None, Some(x))?;
                self.norm(&at("norm2"), x)
            }
            Block::ResPost => {
                let mixed = self.attention(&at("attn"), x, only, None, None)?;
                let mixed = self.norm(&at("norm1"), mixed)?;
                let x = self.add(&at("add1"), kept, mixed, 1.0)?;
                let hidden = self.mlp(&at("mlp"), MlpShape::of(self.cfg), x, None, None)?;
                let hidden = self.norm(&at("norm2"), hidden)?;
                self.add(&at("add2"), x, hidden, 1.0)
            }
            Block::ParallelScaling => {
                let normed = self.norm(&at("norm1"), x)?;
                let gamma = self.layer_scale(&at("ls"));
                let x = self.attention(&at("attn"), normed, only, gamma, Some(kept))?;
                let normed = self.keep(normed, only)?;
                self.mlp(&at("mlp"), MlpShape::of(self.cfg), normed, gamma, Some(x))
            }
            Block::ParallelThings(branches) => {
                let (input, mut x) = (x, kept);
                for j in 0..branches {
                    let at = |name: &str| at(&format!("attns.{j}.{name}"));
                    let normed = self.norm(&at("norm"), input)?;
                    let gamma = self.layer_scale(&at("ls"));
                    x = self.attention(&at("attn"), normed, only, gamma, Some(x))?;
                }
                let input = x;
                for j in 0..branches {
                    let at = |name: &str| at(&format!("ffns.{j}.{name}"));
                    let normed = self.norm(&at("norm"), input)?;
                    let gamma = self.layer_scale(&at("ls"));
                    x = self.mlp(&at("mlp"), MlpShape::of(self.cfg), normed, gamma, Some(x))?;
                }
                Ok(x)
            }
        }
    }

    /// A pre-norm block from its first norm's result on, with `kept` as the residual.
    pub(super) fn after_norm(
        &mut self,
        i: usize,
        normed: TensorId,
        only: Option<usize>,
        kept: TensorId,
    ) -> Result<TensorId> {
        let at = |name: &str| format!("blocks.{i}.{name}");
        let gamma = self.layer_scale(&at("ls1"));
        let x = self.attention(&at("attn"), normed, only, gamma, Some(kept))?;
        let normed = self.norm(&at("norm2"), x)?;
        let gamma = self.layer_scale(&at("ls2"));
        self.mlp(&at("mlp"), MlpShape::of(self.cfg), normed, gamma, Some(x))
    }

    /// `x [B, T, D]` unchanged, or with `only` that token of it, `[B, 1, D]`.
    pub(super) fn keep(&mut self, x: TensorId, only: Option<usize>) -> Result<TensorId> {
        let Some(token) = only else { return Ok(x) };
        let shape = self.graph.tensor(x).shape.clone();
        let y = self.graph.activation("token", &[shape[0], 1, shape[2]]);
        let op = Pool::new(shape[0], shape[1], shape[2], PoolKind::Token(token));
        self.graph.push("token", Op::Pool(op), vec![Some(x)], y)?;
        Ok(y)
    }

    fn layer_scale(&mut self, name: &str) -> Option<TensorId> {
        self.cfg.layer_scale.then(|| self.graph.weight(&format!("{name}.gamma"), &[self.cfg.embed_dim]))
    }

    pub(super) fn add(&mut self, name: &str, a: TensorId, b: TensorId, scale: f32) -> Result<TensorId> {
        let shape = self.graph.tensor(a).shape.clone();
        let y = self.graph.activation(name, &shape);
        let op = Add { len: shape.iter().product(), scale };
        self.graph.push(name, Op::Add(op), vec![Some(a), Some(b)], y)?;
        Ok(y)
    }

    /// `residual + gamma·proj(attention(qkv(x)))`, of every token or of `only` one.
    fn attention(
        &mut self,
        name: &str,
        x: TensorId,
        only: Option<usize>,
        gamma: Option<TensorId>,
        residual: Option<TensorId>,
    ) -> Result<TensorId> {
        let cfg = self.cfg;
        let (tokens, width) = (self.graph.tensor(x).shape[1], cfg.attn_dim());
        let [(q, q_at), (k, k_at), (v, v_at)] = self.parts(&format!("{name}.qkv"), x, cfg.qkv_bias, cfg.qk_norm)?;
        let (q, k) = if cfg.qk_norm {
            let shape = [self.batch, tokens, width];
            let q = self.norm_by(&format!("{name}.q_norm"), q, &[cfg.head_dim], &shape)?;
            (q, self.norm_by(&format!("{name}.k_norm"), k, &[cfg.head_dim], &shape)?)
        } else {
            (q, k)
        };
        let mut op = Attention {
            q: q_at,
            k: k_at,
            v: v_at,
            post_scale: cfg.attn_post_scale,
            ..Attention::packed(self.batch, tokens, cfg.num_heads, cfg.head_dim, cfg.attn_scale)
        };
        if cfg.batch == Batch::Coupled {
            (op.outer, op.q_len, op.kv_len) = (tokens, self.batch, self.batch);
            for at in [&mut op.q, &mut op.k, &mut op.v, &mut op.o] {
                std::mem::swap(&mut at.outer, &mut at.seq);
            }
        }
        match cfg.attends {
            Attends::All => {}
            // One token is compared with those before it alone.
            Attends::Causal => (op.causal, op.kv_len) = (only.is_none(), only.map_or(tokens, |token| token + 1)),
            Attends::First(count) => op.kv_len = count,
        }
        self.attention_maps(&op, q, k)?;
        if let Some(token) = only {
            (op.q_len, op.q.offset, op.o.outer) = (1, op.q.offset + token * op.q.seq, width);
        }
        let mixed = self.graph.activation(name, &[self.batch, only.map_or(tokens, |_| 1), width]);
        self.graph.push(name, Op::Attention(op), vec![Some(q), Some(k), Some(v)], mixed)?;
        if !cfg.attn_proj {
            return match residual {
                Some(residual) => self.add(&format!("{name}.add"), residual, mixed, 1.0),
                None => Ok(mixed),
            };
        }
        let mixed = if cfg.attn_norm { self.norm(&format!("{name}.norm"), mixed)? } else { mixed };
        let epilogue = Epilogue { gamma, residual, ..Epilogue::default() };
        self.linear(&format!("{name}.proj"), mixed, cfg.embed_dim, cfg.proj_bias, epilogue)
    }

    /// Several projections of `x` to `H·d` columns each, whose weights are stored one after another. They are computed by one product, or
    /// by one each if they must be separate or the result would pass the limit. Returns for each its tensor and its place in it.
    pub(super) fn parts<const N: usize>(
        &mut self,
        name: &str,
        x: TensorId,
        bias: bool,
        apart: bool,
    ) -> Result<[(TensorId, Strides); N]> {
        let (tokens, width) = (self.graph.tensor(x).shape[1], self.cfg.attn_dim());
        let bytes = self.graph.precision().bytes() * (N * self.batch * tokens * width) as u64;
        if bytes <= self.limit && !apart {
            let packed = self.linear(name, x, N * width, bias, Epilogue::default())?;
            let at = |i| Strides { offset: i * width, outer: tokens * N * width, seq: N * width };
            return Ok(std::array::from_fn(|i| (packed, at(i))));
        }
        let at = Strides { offset: 0, outer: tokens * width, seq: width };
        let mut parts = [(x, at); N];
        for (i, part) in parts.iter_mut().enumerate() {
            part.0 = self.linear_rows(name, x, i * width, width, bias)?;
        }
        Ok(parts)
    }

    /// `residual + gamma·fc2(act(fc1(x)))`, computed for groups of rows small enough that the hidden layer stays under the limit.
    pub(super) fn mlp(
        &mut self,
        name: &str,
        mlp: MlpShape,
        x: TensorId,
        gamma: Option<TensorId>,
        residual: Option<TensorId>,
    ) -> Result<TensorId> {
        let (d, MlpShape { kind, hidden, bias: [bias1, bias2], norm }) = (self.cfg.embed_dim, mlp);
        if kind == Mlp::Single {
            let epilogue = Epilogue { act: self.cfg.act, gamma, residual };
            return self.linear(&format!("{name}.fc1"), x, d, bias1, epilogue);
        }
        let (wide, act) = match kind {
            Mlp::Plain | Mlp::Single => (hidden, self.cfg.act),
            Mlp::Glu => (2 * hidden, Default::default()),
        };
        let shape = self.graph.tensor(x).shape.clone();
        let rows = shape.iter().product::<usize>() / d;
        let step = ((self.limit / (self.graph.precision().bytes() * wide as u64)) as usize).clamp(1, rows);
        let [fc1, fc2] = ["fc1", "fc2"].map(|fc| format!("{name}.{fc}"));
        let (w1, b1) = (self.graph.weight(&format!("{fc1}.weight"), &[wide, d]), self.bias(&fc1, wide, bias1));
        let (w2, b2) = (self.graph.weight(&format!("{fc2}.weight"), &[d, hidden]), self.bias(&fc2, d, bias2));
        let out = self.graph.activation(&fc2, &shape);
        for first in (0..rows).step_by(step) {
            let m = step.min(rows - first);
            let mut h = self.graph.activation(&fc1, &[m, wide]);
            let op = Linear { act, bias: bias1, x_row: first, ..Linear::new(m, d, wide) };
            self.graph.push(&fc1, Op::Linear(op), vec![Some(x), Some(w1), b1, None, None], h)?;
            if kind == Mlp::Glu {
                let gated = self.graph.activation(&format!("{name}.act"), &[m, hidden]);
                let op = Glu { rows: m, width: hidden, act: self.cfg.act };
                self.graph.push(&format!("{name}.act"), Op::Glu(op), vec![Some(h)], gated)?;
                h = gated;
            }
            if norm {
                h = self.norm_by(&format!("{name}.norm"), h, &[hidden], &[m, hidden])?;
            }
            let op = Linear {
                bias: bias2,
                gamma: gamma.is_some(),
                residual: residual.is_some(),
                y_row: first,
                ..Linear::new(m, hidden, d)
            };
            self.graph.push(&fc2, Op::Linear(op), vec![Some(h), Some(w2), b2, gamma, residual], out)?;
        }
        Ok(out)
    }
}
