//! The options that tell one Vision Transformer from another, as numbers and switches.

use crate::error::{Error, Result};
use crate::ops::{Activation, PoolKind};

/// What turns the pooled vector into logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// None: the model ends at its pooled vector.
    None,
    /// `head.{weight,bias}` `[K, F]`.
    Linear,
    /// Distilled DeiT: `head` on token 0 and `head_dist` on token 1, their logits averaged.
    Distilled,
}

/// Everything about a model that its weights don't say, in timm's vocabulary. Nothing here is folded into weights.
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    /// Image height and width in pixels.
    pub img_size: (usize, usize),
    /// Patch height and width in pixels.
    pub patch_size: (usize, usize),
    /// Colour channels.
    pub in_chans: usize,
    /// D.
    pub embed_dim: usize,
    /// Blocks.
    pub depth: usize,
    /// H.
    pub num_heads: usize,
    /// d; `num_heads · head_dim` may differ from `embed_dim`.
    pub head_dim: usize,
    /// M, the width of the MLP's hidden layer.
    pub mlp_hidden: usize,
    /// Whether the patch projection has a bias.
    pub patch_bias: bool,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether a class token comes first.
    pub class_token: bool,
    /// Whether a distillation token comes second.
    pub dist_token: bool,
    /// Register tokens after those.
    pub reg_tokens: usize,
    /// How many of the prefix tokens the position table covers.
    pub pos_prefix: usize,
    /// Whether a norm follows the position embedding (`norm_pre`, CLIP).
    pub pre_norm: bool,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// The MLP's activation.
    pub act: Activation,
    /// Whether branches are scaled by a learned vector before they join the residual (`ls1`, `ls2`).
    pub layer_scale: bool,
    /// Multiplies the scores before the softmax.
    pub attn_scale: f32,
    /// Multiplies the probabilities after the softmax.
    pub attn_post_scale: f32,
    /// Whether the last block's output is normalised before pooling (`norm`).
    pub final_norm: bool,
    /// Which tokens are pooled.
    pub pool: PoolKind,
    /// Whether the pooled vector is normalised (`fc_norm`).
    pub fc_norm: bool,
    /// Width of a tanh layer before the head (`pre_logits`, a pooler), if there is one.
    pub pre_logits: Option<usize>,
    /// What makes the logits.
    pub head: Head,
    /// K; 0 without a head.
    pub num_classes: usize,
}

impl VitConfig {
    /// A plain ViT: class token first, pre-norm, erf GELU, eps 1e-6, linear head on the class token.
    #[must_use]
    pub fn plain(img_size: usize, patch_size: usize, embed_dim: usize, depth: usize, num_heads: usize) -> Self {
        let head_dim = embed_dim / num_heads.max(1);
        VitConfig {
            img_size: (img_size, img_size),
            patch_size: (patch_size, patch_size),
            in_chans: 3,
            embed_dim,
            depth,
            num_heads,
            head_dim,
            mlp_hidden: 4 * embed_dim,
            patch_bias: true,
            qkv_bias: true,
            class_token: true,
            dist_token: false,
            reg_tokens: 0,
            pos_prefix: 1,
            pre_norm: false,
            norm_eps: 1e-6,
            act: Activation::Gelu,
            layer_scale: false,
            attn_scale: (head_dim as f32).powf(-0.5),
            attn_post_scale: 1.0,
            final_norm: true,
            pool: PoolKind::Token(0),
            fc_norm: false,
            pre_logits: None,
            head: Head::Linear,
            num_classes: 1000,
        }
    }

    /// Patches per column and row.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        (self.img_size.0 / self.patch_size.0, self.img_size.1 / self.patch_size.1)
    }

    /// Class, distillation and register tokens together.
    #[must_use]
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + usize::from(self.dist_token) + self.reg_tokens
    }

    /// T: prefix tokens and patches.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.prefix_tokens() + self.grid().0 * self.grid().1
    }

    /// Elements of one patch, C·P·P.
    #[must_use]
    pub fn patch_len(&self) -> usize {
        self.in_chans * self.patch_size.0 * self.patch_size.1
    }

    /// Width of q, k or v: H·d.
    #[must_use]
    pub fn attn_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// F: width of the pooled vector.
    #[must_use]
    pub fn pooled_dim(&self) -> usize {
        self.pre_logits.unwrap_or(self.embed_dim)
    }

    /// Refuses sizes that no forward pass could have.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, with `file` as the file at fault.
    pub fn validate(&self, file: &str) -> Result<()> {
        let fail = |reason: String| Err(Error::config(file, reason));
        for (name, value) in [
            ("embed_dim", self.embed_dim),
            ("num_heads", self.num_heads),
            ("head_dim", self.head_dim),
            ("mlp hidden size", self.mlp_hidden),
            ("in_chans", self.in_chans),
            ("patch_size", self.patch_size.0.min(self.patch_size.1)),
        ] {
            if value == 0 || value > 1 << 20 {
                return fail(format!("{name} is {value}"));
            }
        }
        if self.head_dim > 256 {
            return fail(format!("head width {} is over 256", self.head_dim));
        }
        let (grid_h, grid_w) = self.grid();
        if grid_h == 0 || grid_w == 0 || self.img_size.0.max(self.img_size.1) > 1 << 16 {
            let ((h, w), (ph, pw)) = (self.img_size, self.patch_size);
            return fail(format!("an image of {h}x{w} has no patches of {ph}x{pw}, or too many"));
        }
        if self.pos_prefix > self.prefix_tokens() {
            return fail(format!("{} prefix positions for {} prefix tokens", self.pos_prefix, self.prefix_tokens()));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return fail(format!("norm eps is {}", self.norm_eps));
        }
        let pooled_ok = match self.pool {
            PoolKind::Token(i) | PoolKind::Mean(i) => i < self.tokens(),
        };
        if !pooled_ok {
            return fail(format!("{:?} of {} tokens", self.pool, self.tokens()));
        }
        if self.head == Head::Distilled && !(self.class_token && self.dist_token) {
            return fail("a distilled head needs a class and a distillation token".to_owned());
        }
        Ok(())
    }
}
