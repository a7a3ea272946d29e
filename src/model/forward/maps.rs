//! Outputs that show what happens within blocks, and the pass that begins in the last one.

use super::{Forward, Maps};
use crate::error::{Error, Result};
use crate::graph::{Dtype, TensorId};
use crate::model::{Batch, Block};
use crate::ops::{Attention, AttentionMap, Op};

impl Maps {
    /// Whether the attention of this layer is wanted.
    pub(super) fn of_layer(self, layer: usize) -> bool {
        matches!(self, Maps::Attention { first, end } if (first..end).contains(&layer))
    }
}

impl Forward<'_> {
    /// The probabilities of an attention as outputs, if they are wanted.
    pub(super) fn attention_maps(&mut self, op: &Attention, q: TensorId, k: TensorId) -> Result<()> {
        if !self.maps.of_layer(self.layer) {
            return Ok(());
        }
        if self.cfg.batch == Batch::Coupled {
            return Err(Error::argument(
                "attention",
                "this model's images attend to each other, not patches to patches",
            ));
        }
        let one = self.graph.precision().bytes() * (op.outer * op.q_len * op.kv_len) as u64;
        let step = usize::try_from(self.limit / one.max(1)).unwrap_or(usize::MAX).clamp(1, op.heads);
        for first in (0..op.heads).step_by(step) {
            let heads = step.min(op.heads - first);
            let name = format!("attentions.{}.{}", self.layer, self.head + first);
            let (mut q_at, mut k_at) = (op.q, op.k);
            q_at.offset += first * op.head_dim;
            k_at.offset += first * op.head_dim;
            let Attention { outer, head_dim, q_len, kv_len, scale, .. } = *op;
            let map = AttentionMap { outer, heads, head_dim, q_len, kv_len, scale, q: q_at, k: k_at };
            let y = self.graph.activation(&name, &[outer, heads, q_len, kv_len]);
            self.graph.push(&name, Op::AttentionMap(map), vec![Some(q), Some(k)], y)?;
            self.graph.output(&name, y)?;
        }
        self.head += op.heads;
        Ok(())
    }

    /// The first norm's result of block `i` as an output, if it is the last block and that is wanted.
    pub(super) fn last_normed(&mut self, i: usize, normed: TensorId) -> Result<()> {
        if self.maps == Maps::LastNormed && i + 1 == self.cfg.depth {
            self.graph.output("last_normed", normed)?;
        }
        Ok(())
    }

    /// The last block from its first norm's result on, which is the graph's input and the residual.
    pub(super) fn rest(&mut self, only: Option<usize>) -> Result<TensorId> {
        let cfg = self.cfg;
        if cfg.block != Block::PreNorm || cfg.depth == 0 {
            return Err(Error::argument("relevance", "it needs a model with pre-norm blocks"));
        }
        let shape = [self.batch, cfg.tokens(), cfg.embed_dim];
        let normed = self.graph.input("last_normed", &shape, Dtype::from(self.graph.precision()));
        let kept = self.keep(normed, only)?;
        let x = self.after_norm(cfg.depth - 1, normed, only, kept)?;
        self.keep_class(cfg.depth - 1, x)?;
        Ok(x)
    }
}
