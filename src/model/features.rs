//! Describes in words how a model differs from a plain ViT.

use super::{Attends, Batch, Block, Head, Mlp, NormAxes, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};

impl VitConfig {
    /// Where this configuration differs from a plain ViT (class token, learned positions, pre-norm blocks, erf GELU, biases
    /// everywhere, a linear head on the class token), in timm's terms.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut add = |there: bool, text: &str| {
            if there {
                all.push(text.to_owned());
            }
        };
        add(!self.patch_proj, "pixels as tokens");
        add(self.patch_norm, "norm of the pixels");
        add(!self.class_token, "no class token");
        add(self.dist_token, "distillation token");
        add(self.reg_tokens > 0, &format!("{} registers", self.reg_tokens));
        add(!self.pos_embed, "no positions");
        let bare = self.pos_embed && self.pos_prefix < self.prefix_tokens();
        add(bare && self.pos_prefix == 0, "positions of patches alone");
        add(bare && self.pos_prefix > 0, "registers without positions");
        add(self.pre_norm, "norm before the blocks");
        add(self.embed_norm, "norm of the patches");
        add(self.rms_norm, "RMSNorm");
        add(!self.qkv_bias, "no qkv bias");
        add(!self.attn_proj, "no output projection");
        add(self.attn_proj && !self.proj_bias, "no projection bias");
        add(self.qk_norm, "qk-norm");
        add(self.attn_norm, "norm of the mixed values");
        add(self.mlp_norm, "norm of the MLP's hidden layer");
        add(self.layer_scale, "layer scale");
        add(self.attends == Attends::Causal, "causal attention");
        match self.block {
            Block::PreNorm => {}
            Block::PostNorm => add(true, "norms after the residual"),
            Block::ResPost => add(true, "norms after the branches"),
            Block::ParallelScaling => add(true, "attention and MLP in parallel"),
            Block::ParallelThings(n) => add(true, &format!("{n} parallel branches")),
        }
        let act = match self.act {
            Activation::Gelu => "GELU",
            Activation::GeluTanh => "tanh GELU",
            Activation::QuickGelu => "quick GELU",
            Activation::Relu => "ReLU",
            Activation::Silu => "SiLU",
            Activation::Tanh => "tanh",
            Activation::None => "no activation",
        };
        match self.mlp {
            Mlp::Glu => add(true, &if act == "SiLU" { "SwiGLU".to_owned() } else { format!("gated {act}") }),
            Mlp::Plain => add(self.act != Activation::Gelu, act),
            Mlp::Single => add(true, &format!("MLP of one layer, {act}")),
        }
        add(self.norm_axes == NormAxes::Joint, "norms over the whole batch");
        match self.batch {
            Batch::Independent => {}
            Batch::Coupled => add(true, "attention across the batch"),
            Batch::Fixed(n) => add(true, &format!("batches of {n}")),
        }
        let usual = (self.head_dim as f32).powf(-0.5);
        add(self.attn_scale != usual, &format!("scores times {:.4}", self.attn_scale));
        add(self.attn_post_scale != 1.0, &format!("probabilities times {:.4}", self.attn_post_scale));
        add(self.attn_dim() != self.embed_dim, &format!("heads of {}", self.head_dim));
        match self.pool {
            Pooling::Tokens(PoolKind::Token(i)) => add(i > 0, &format!("token {i} pooled")),
            Pooling::Tokens(PoolKind::Mean(i)) => add(true, &format!("mean of tokens {i}…")),
            Pooling::Tokens(PoolKind::Max(i)) => add(true, &format!("maximum of tokens {i}…")),
            Pooling::Tokens(PoolKind::AvgMax(i)) => add(true, &format!("mean and maximum of tokens {i}…")),
            Pooling::ClassAndDistillation => add(true, "class and distillation token pooled"),
            Pooling::Attention(i) => add(true, &format!("attention pooling of tokens {i}…")),
            Pooling::ClassAndMean { from, layers } => {
                add(true, &format!("class token of {layers} block(s) and mean of tokens {from}…"));
            }
        }
        add(self.final_norm && self.fc_norm, "norms before and after pooling");
        add(!self.final_norm && self.fc_norm, "norm after pooling");
        add(!self.final_norm && !self.fc_norm, "no final norm");
        let layer = match self.pre_logits_act {
            Activation::Tanh => "tanh layer",
            Activation::None => "two linear layers in the head",
            _ => "MLP head",
        };
        add(self.pre_logits.is_some(), layer);
        add(self.projection.is_some(), "projection");
        match self.head {
            Head::Linear => {}
            Head::None => add(true, "no head"),
            Head::Distilled => add(true, "two heads averaged"),
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_vit_has_nothing_to_say() {
        let mut cfg = VitConfig::plain(224, 16, 768, 12, 12);
        assert!(cfg.features().is_empty());
        (cfg.reg_tokens, cfg.rms_norm, cfg.mlp, cfg.act) = (4, true, Mlp::Glu, Activation::Silu);
        assert_eq!(cfg.features(), ["4 registers", "registers without positions", "RMSNorm", "SwiGLU"]);
    }
}
