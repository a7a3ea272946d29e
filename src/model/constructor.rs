//! The constructor of timm's `VisionTransformer` (`timm/models/vision_transformer.py`): its arguments, their defaults, and what
//! they resolve to. An argument's default may depend on another argument, so only the whole set gives a configuration.

use super::{Block, Head, Mlp, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};

/// `mlp_layer`: which class makes a block's MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpLayer {
    /// `Mlp`.
    Plain,
    /// `GluMlp`: one product makes values and gate, the values first.
    GluMlp,
    /// `SwiGLUPacked`: one product makes gate and values, the gate first.
    GluPacked,
    /// `SwiGLU`: gate and values have a product each.
    Glu,
}

/// `global_pool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalPool {
    /// The class token.
    Token,
    /// The mean of tokens.
    Avg,
    /// Half the sum of mean and maximum.
    AvgMax,
    /// The maximum.
    Max,
    /// Attention of a learned query.
    Map,
}

/// A norm's class and epsilon: `norm_layer`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormLayer {
    /// `true` for RMSNorm, `false` for LayerNorm.
    pub rms: bool,
    /// Epsilon: the number added to the variance.
    pub eps: f32,
}

impl Default for NormLayer {
    fn default() -> Self {
        NormLayer { rms: false, eps: 1e-6 }
    }
}

/// The constructor's arguments, under timm's names.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "timm documents them")]
pub struct Arguments {
    pub img_size: (usize, usize),
    /// Whether the architecture passes `img_size` itself, so that it holds against the size that pretrained weights state.
    pub own_img_size: bool,
    pub patch_size: (usize, usize),
    pub in_chans: usize,
    pub num_classes: usize,
    /// `None` for the default, the class token.
    pub global_pool: Option<GlobalPool>,
    pub embed_dim: usize,
    pub depth: usize,
    pub num_heads: usize,
    pub mlp_ratio: f64,
    pub qkv_bias: bool,
    pub qk_norm: bool,
    pub scale_attn_norm: bool,
    pub scale_mlp_norm: bool,
    pub proj_bias: bool,
    pub init_values: Option<f64>,
    pub class_token: bool,
    pub pos_embed: bool,
    pub no_embed_class: bool,
    pub reg_tokens: usize,
    pub pre_norm: bool,
    pub final_norm: bool,
    pub fc_norm: Option<bool>,
    pub pool_include_prefix: bool,
    pub dynamic_img_size: bool,
    pub embed_norm_layer: Option<NormLayer>,
    pub norm_layer: NormLayer,
    pub act_layer: Activation,
    pub block_fn: Block,
    pub mlp_layer: MlpLayer,
    /// Whether the class is `VisionTransformerDistilled`.
    pub distilled: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Arguments {
            img_size: (224, 224),
            own_img_size: false,
            patch_size: (16, 16),
            in_chans: 3,
            num_classes: 1000,
            global_pool: None,
            embed_dim: 768,
            depth: 12,
            num_heads: 12,
            mlp_ratio: 4.0,
            qkv_bias: true,
            qk_norm: false,
            scale_attn_norm: false,
            scale_mlp_norm: false,
            proj_bias: true,
            init_values: None,
            class_token: true,
            pos_embed: true,
            no_embed_class: false,
            reg_tokens: 0,
            pre_norm: false,
            final_norm: true,
            fc_norm: None,
            pool_include_prefix: false,
            dynamic_img_size: false,
            embed_norm_layer: None,
            norm_layer: NormLayer::default(),
            act_layer: Activation::Gelu,
            block_fn: Block::PreNorm,
            mlp_layer: MlpLayer::Plain,
            distilled: false,
        }
    }
}

impl Arguments {
    /// The model that timm's constructor makes of these arguments.
    ///
    /// # Errors
    /// A sentence about the arguments that timm refuses together, or that can't be run here.
    pub fn resolve(&self) -> Result<VitConfig, String> {
        let (dim, heads) = (self.embed_dim, self.num_heads);
        if heads == 0 || !dim.is_multiple_of(heads) {
            return Err(format!("{heads} heads don't divide a width of {dim}"));
        }
        let mut cfg = VitConfig::plain(1, 1, dim, self.depth, heads);
        (cfg.img_size, cfg.patch_size, cfg.in_chans) = (self.img_size, self.patch_size, self.in_chans);
        (cfg.qkv_bias, cfg.qk_norm) = (self.qkv_bias, self.qk_norm);
        (cfg.proj_bias, cfg.mlp_bias) = (self.proj_bias, self.proj_bias);
        (cfg.attn_norm, cfg.mlp_norm) = (self.scale_attn_norm, self.scale_mlp_norm);
        (cfg.class_token, cfg.reg_tokens) = (self.class_token, self.reg_tokens);
        // The patch embedding has no bias if a norm with a bias follows it.
        (cfg.pre_norm, cfg.patch_bias) = (self.pre_norm, !self.pre_norm);
        (cfg.rms_norm, cfg.norm_eps) = (self.norm_layer.rms, self.norm_layer.eps);
        cfg.embed_norm = self.embed_norm_layer.is_some();
        if self.embed_norm_layer.is_some_and(|norm| norm != self.norm_layer) {
            return Err("embed_norm_layer and norm_layer are different norms, which is not supported".to_owned());
        }
        cfg.act = self.act_layer;
        cfg.block = self.block_fn;
        cfg.layer_scale = match self.block_fn {
            Block::ParallelScaling => self.init_values.is_some(),
            Block::ResPost => false,
            _ => self.init_values.is_some_and(|value| value != 0.0),
        };
        self.mlp(&mut cfg)?;
        self.tokens(&mut cfg)?;
        cfg.num_classes = self.num_classes;
        cfg.head = match (self.num_classes, self.distilled) {
            (0, _) => Head::None,
            (_, false) => Head::Linear,
            (_, true) => Head::Distilled,
        };
        Ok(cfg)
    }

    fn pool(&self) -> GlobalPool {
        self.global_pool.unwrap_or(GlobalPool::Token)
    }

    fn mlp(&self, cfg: &mut VitConfig) -> Result<(), String> {
        let hidden = (self.embed_dim as f64 * self.mlp_ratio) as usize;
        // A parallel block has an MLP of its own.
        let parallel = self.block_fn == Block::ParallelScaling;
        if parallel && (self.scale_attn_norm || self.scale_mlp_norm) {
            return Err("a ParallelScalingBlock has no scale_attn_norm and no scale_mlp_norm".to_owned());
        }
        (cfg.mlp, cfg.mlp_hidden) = match self.mlp_layer {
            _ if parallel => (Mlp::Plain, hidden),
            MlpLayer::Plain => (Mlp::Plain, hidden),
            MlpLayer::Glu => (Mlp::Glu, hidden),
            MlpLayer::GluMlp | MlpLayer::GluPacked if hidden.is_multiple_of(2) => (Mlp::Glu, hidden / 2),
            _ => return Err(format!("a gated MLP needs an even hidden width, not {hidden}")),
        };
        // Attention pooling ends in a plain MLP of the whole width, whatever the blocks have.
        cfg.pool_mlp_hidden = (self.pool() == GlobalPool::Map && hidden != cfg.mlp_hidden).then_some(hidden);
        Ok(())
    }

    /// Prefix tokens, positions, pooling and the norms around it.
    fn tokens(&self, cfg: &mut VitConfig) -> Result<(), String> {
        if self.pool() == GlobalPool::Token && !self.class_token {
            return Err("global_pool `token` needs a class token".to_owned());
        }
        let averaged = matches!(self.pool(), GlobalPool::Avg | GlobalPool::AvgMax | GlobalPool::Max);
        let fc_norm = self.fc_norm.unwrap_or(averaged);
        (cfg.final_norm, cfg.fc_norm) = (self.final_norm && !fc_norm, self.final_norm && fc_norm);
        cfg.pos_embed = self.pos_embed;
        if self.distilled {
            if self.pool() != GlobalPool::Token || self.no_embed_class || !self.class_token {
                return Err(
                    "a distilled model pools its class and distillation tokens, which have positions".to_owned()
                );
            }
            // VisionTransformerDistilled's forward pass ignores registers and `fc_norm`, and always adds positions.
            (cfg.dist_token, cfg.reg_tokens, cfg.fc_norm, cfg.pos_embed) = (true, 0, false, true);
        }
        let prefix = cfg.prefix_tokens();
        cfg.pos_prefix = if self.no_embed_class || !cfg.pos_embed { 0 } else { prefix };
        let from = if self.pool_include_prefix { 0 } else { prefix };
        cfg.pool = match self.pool() {
            GlobalPool::Token if self.distilled => Pooling::ClassAndDistillation,
            GlobalPool::Token => Pooling::CLASS,
            GlobalPool::Avg => Pooling::Tokens(PoolKind::Mean(from)),
            GlobalPool::AvgMax => Pooling::Tokens(PoolKind::AvgMax(from)),
            GlobalPool::Max => Pooling::Tokens(PoolKind::Max(from)),
            GlobalPool::Map => Pooling::Attention(from),
        };
        Ok(())
    }
}

impl GlobalPool {
    /// The pooling with this name in timm; `None` if it is not supported.
    #[must_use]
    pub fn named(name: &str) -> Option<GlobalPool> {
        Some(match name {
            "token" => GlobalPool::Token,
            "avg" => GlobalPool::Avg,
            "avgmax" => GlobalPool::AvgMax,
            "max" => GlobalPool::Max,
            "map" => GlobalPool::Map,
            _ => return None,
        })
    }
}

impl MlpLayer {
    /// The MLP with this class name in timm; `None` if it is not supported.
    #[must_use]
    pub fn named(name: &str) -> Option<MlpLayer> {
        Some(match name {
            "Mlp" => MlpLayer::Plain,
            "GluMlp" => MlpLayer::GluMlp,
            "SwiGLUPacked" => MlpLayer::GluPacked,
            "SwiGLU" => MlpLayer::Glu,
            _ => return None,
        })
    }
}

impl NormLayer {
    /// The norm with this name in timm, with the default epsilon of its class. Case and underscores are ignored, as in `get_norm_layer`.
    #[must_use]
    pub fn named(name: &str) -> Option<NormLayer> {
        let rms = match name.replace('_', "").to_lowercase().as_str() {
            "layernorm" | "layernormfp32" => false,
            "rmsnorm" | "rmsnormfp32" => true,
            _ => return None,
        };
        Some(NormLayer { rms, eps: 1e-6 })
    }
}

/// timm's `block_fn`, by the name of its class.
#[must_use]
pub fn block_fn(name: &str) -> Option<Block> {
    Some(match name {
        "Block" => Block::PreNorm,
        "ResPostBlock" => Block::ResPost,
        "ParallelScalingBlock" => Block::ParallelScaling,
        "ParallelThingsBlock" => Block::ParallelThings(2),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_follows_the_other_arguments() {
        let made = |change: fn(&mut Arguments)| {
            let mut arguments = Arguments::default();
            change(&mut arguments);
            arguments.resolve()
        };
        let norms = |cfg: Result<VitConfig, String>| cfg.map(|cfg| (cfg.final_norm, cfg.fc_norm, cfg.pool)).unwrap();
        assert_eq!(made(|_| {}).unwrap(), VitConfig::plain(224, 16, 768, 12, 12));
        let mean = |from| Pooling::Tokens(PoolKind::Mean(from));
        assert_eq!(norms(made(|a| a.global_pool = Some(GlobalPool::Avg))), (false, true, mean(1)));
        let unnormed = |a: &mut Arguments| (a.global_pool, a.fc_norm) = (Some(GlobalPool::Avg), Some(false));
        assert_eq!(norms(made(unnormed)), (true, false, mean(1)));
        let prefix = |a: &mut Arguments| {
            (a.global_pool, a.pool_include_prefix, a.final_norm) = (Some(GlobalPool::Avg), true, false);
        };
        assert_eq!(norms(made(prefix)), (false, false, mean(0)));
        let distilled = |a: &mut Arguments| (a.distilled, a.fc_norm) = (true, Some(true));
        assert_eq!(norms(made(distilled)), (false, false, Pooling::ClassAndDistillation));
        assert!(made(|a| a.class_token = false).is_err());
        assert!(made(|a| a.num_heads = 7).is_err());
        assert!(made(|a| (a.mlp_layer, a.mlp_ratio) = (MlpLayer::GluMlp, 769.0 / 768.0)).is_err());
    }
}
