//! From the last block's tokens to the pooled vector and the logits.

use super::block::MlpShape;
use super::{Epilogue, Forward};
use crate::error::Result;
use crate::graph::TensorId;
use crate::model::{Head, Mlp, Pooling};
use crate::ops::{Attention, Linear, Op, Pool, PoolKind, Strides};

impl Forward<'_> {
    /// Norms, pooling and heads after the last block.
    pub(super) fn finish(&mut self, mut x: TensorId, last_hidden_state: bool) -> Result<()> {
        let cfg = self.cfg;
        // A norm works on each row separately. So if one token is pooled, only that token is normalised; the whole state is normalised
        // if it is a requested output or if more than one token is pooled.
        let one = matches!(cfg.pool, Pooling::Tokens(PoolKind::Token(_)) | Pooling::ClassAndDistillation);
        let tokens_normed = cfg.final_norm && (last_hidden_state || !one);
        if tokens_normed {
            x = self.norm("norm", x)?;
        }
        if last_hidden_state {
            self.graph.output("last_hidden_state", x)?;
        }
        let norm_pooled = cfg.final_norm && !tokens_normed;
        // The input of the first head, if it is not the pooled vector.
        let mut class = None;
        let pooled = match cfg.pool {
            Pooling::ClassAndDistillation => {
                let first = self.pool("pool", x, PoolKind::Token(0), norm_pooled)?;
                let second = self.pool("pool_dist", x, PoolKind::Token(1), norm_pooled)?;
                class = Some((first, second));
                self.add("pool_mean", first, second, 0.5)?
            }
            // The last block may have computed only that token.
            Pooling::Tokens(PoolKind::Token(_)) if self.graph.tensor(x).shape[1] == 1 => {
                self.pool("pool", x, PoolKind::Token(0), norm_pooled)?
            }
            Pooling::Tokens(kind) => self.pool("pool", x, kind, norm_pooled)?,
            Pooling::Attention(from) => self.attention_pool(x, from)?,
            Pooling::ClassAndMean { from, layers } => self.class_and_mean(x, from, layers)?,
        };
        let pooled = self.pooled(pooled)?;
        self.graph.output("pooled", pooled)?;
        let logits = match cfg.head {
            Head::None => return Ok(()),
            Head::Linear => self.head("head", pooled)?,
            Head::Distilled => {
                let (first, second) = match class {
                    Some(both) => both,
                    None => {
                        let second = self.pool("pool_dist", x, PoolKind::Token(1), norm_pooled)?;
                        (pooled, self.pooled(second)?)
                    }
                };
                let first = self.head("head", first)?;
                let second = self.head("head_dist", second)?;
                self.add("head_mean", first, second, 0.5)?
            }
        };
        self.graph.output("logits", logits)?;
        Ok(())
    }

    /// Pools tokens. With `norm`, also normalises the pooled vector, because the tokens were not normalised before.
    fn pool(&mut self, name: &str, x: TensorId, kind: PoolKind, norm: bool) -> Result<TensorId> {
        let shape = self.graph.tensor(x).shape.clone();
        let pooled = self.graph.activation(name, &[shape[0], shape[2]]);
        let op = Pool::new(shape[0], shape[1], shape[2], kind);
        self.graph.push(name, Op::Pool(op), vec![Some(x)], pooled)?;
        if norm { self.norm("norm", pooled) } else { Ok(pooled) }
    }

    /// Keeps the class token of block `i`, if it is one of those that [`Pooling::ClassAndMean`] takes.
    pub(super) fn keep_class(&mut self, i: usize, x: TensorId) -> Result<()> {
        let Pooling::ClassAndMean { layers, .. } = self.cfg.pool else { return Ok(()) };
        let Some(which) = (i + layers).checked_sub(self.cfg.depth) else { return Ok(()) };
        let shape = self.graph.tensor(x).shape.clone();
        let (batch, width) = (shape[0], shape[2]);
        let classes = self.classes.unwrap_or_else(|| self.graph.activation("pool_class", &[batch, layers, width]));
        self.classes = Some(classes);
        let op =
            Pool { col: which * width, ld: layers * width, ..Pool::new(batch, shape[1], width, PoolKind::Token(0)) };
        self.graph.push("pool_class", Op::Pool(op), vec![Some(x)], classes)
    }

    /// The kept class tokens, normalised, and the mean of the last state's tokens, side by side.
    fn class_and_mean(&mut self, x: TensorId, from: usize, layers: usize) -> Result<TensorId> {
        let shape = self.graph.tensor(x).shape.clone();
        let (batch, tokens, width) = (shape[0], shape[1], shape[2]);
        let ld = (layers + 1) * width;
        let pooled = self.graph.activation("pool", &[batch, ld]);
        if let Some(mut classes) = self.classes {
            if self.cfg.final_norm {
                classes = self.norm("norm", classes)?;
            }
            let op = Pool { ld, ..Pool::new(batch, 1, layers * width, PoolKind::Token(0)) };
            self.graph.push("pool", Op::Pool(op), vec![Some(classes)], pooled)?;
        }
        let op = Pool { col: layers * width, ld, ..Pool::new(batch, tokens, width, PoolKind::Mean(from)) };
        self.graph.push("pool", Op::Pool(op), vec![Some(x)], pooled)?;
        Ok(pooled)
    }

    /// One learned query attends to the tokens from `from` on (`attn_pool`; Zhai et al. 2022), then an MLP.
    fn attention_pool(&mut self, x: TensorId, from: usize) -> Result<TensorId> {
        let cfg = self.cfg;
        let (tokens, width) = (self.graph.tensor(x).shape[1], cfg.attn_dim());
        let latent = self.graph.weight("attn_pool.latent", &[1, cfg.embed_dim]);
        let q = self.linear("attn_pool.q", latent, width, true, Epilogue::default())?;
        let [(k, k_at), (v, v_at)] = self.parts("attn_pool.kv", x, true, false)?;
        let after_prefix = |at: Strides| Strides { offset: at.offset + from * at.seq, ..at };
        let op = Attention {
            q_len: 1,
            kv_len: tokens - from,
            q: Strides { offset: 0, outer: 0, seq: width },
            k: after_prefix(k_at),
            v: after_prefix(v_at),
            o: Strides { offset: 0, outer: width, seq: width },
            ..Attention::packed(self.batch, tokens, cfg.num_heads, cfg.head_dim, cfg.attn_scale)
        };
        self.attention_maps(&op, q, k)?;
        let mixed = self.graph.activation("attn_pool", &[self.batch, width]);
        self.graph.push("attn_pool", Op::Attention(op), vec![Some(q), Some(k), Some(v)], mixed)?;
        let pooled = self.linear("attn_pool.proj", mixed, cfg.embed_dim, true, Epilogue::default())?;
        let normed = self.norm("attn_pool.norm", pooled)?;
        let hidden = cfg.pool_mlp_hidden.unwrap_or(cfg.mlp_hidden);
        let shape = MlpShape { kind: Mlp::Plain, hidden, bias: [true; 2], norm: false };
        self.mlp("attn_pool.mlp", shape, normed, None, Some(pooled))
    }

    /// The layers between pooling and head: `fc_norm`, the tanh layer, the projection.
    fn pooled(&mut self, mut pooled: TensorId) -> Result<TensorId> {
        if self.cfg.fc_norm {
            pooled = self.norm("fc_norm", pooled)?;
        }
        if let Some(width) = self.cfg.pre_logits {
            let epilogue = Epilogue { act: self.cfg.pre_logits_act, ..Epilogue::default() };
            pooled = self.linear("pre_logits.fc", pooled, width, true, epilogue)?;
        }
        if let Some(width) = self.cfg.projection {
            pooled = self.linear("projection", pooled, width, self.cfg.projection_bias, Epilogue::default())?;
        }
        Ok(pooled)
    }

    /// Logits, computed in groups of columns small enough that each part of the weight stays under the limit.
    fn head(&mut self, name: &str, pooled: TensorId) -> Result<TensorId> {
        let (classes, k) = (self.cfg.num_classes, self.cfg.pooled_dim());
        let step = ((self.limit / (self.graph.precision().bytes() * k as u64)) as usize).clamp(1, classes.max(1));
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
}
