//! The configuration of a Vision Transformer: its sizes and options.

use serde::{Deserialize, Serialize};

use super::attends::Attends;
use crate::error::{Error, Result};
use crate::ops::{Activation, PoolKind};

/// What turns the pooled vector into logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// None: the model ends at its pooled vector.
    None,
    /// `head.{weight,bias}` `[K, F]`.
    Linear,
    /// Distilled DeiT: `head` on token 0 and `head_dist` on token 1, their logits averaged.
    Distilled,
}

/// Where a block has its norms, and how it adds attention and MLP to the residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// `x + ls1(attn(norm1(x)))`, then `x + ls2(mlp(norm2(x)))`.
    PreNorm,
    /// `norm1(x + attn(x))`, then `norm2(x + mlp(x))` (Vaswani et al. 2017; `nn.TransformerEncoderLayer`).
    PostNorm,
    /// `x + norm1(attn(x))`, then `x + norm2(mlp(x))` (Swin v2's order; timm's `rpn` models).
    ResPost,
    /// `x + ls(attn(n)) + ls(mlp(n))` with one norm `n = norm1(x)` (ViT-22B; timm's `xp` models).
    ParallelScaling,
    /// This many attention branches, all applied to `x` and added together, then as many MLPs (Touvron et al. 2022; timm's `18x2`).
    ParallelThings(usize),
}

/// What an MLP computes between its two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// The activation.
    Plain,
    /// There is no second linear layer: the activation's result is added to the residual.
    Single,
    /// A gated linear unit: the first layer gives twice the width, with halves `a` and `b`, and the result is `act(a)·b`.
    Glu,
}

/// Over which axes a norm computes mean and variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormAxes {
    /// The channels of each token.
    Channels,
    /// All axes, the batch included. The norm's weights then have the shape of the whole tensor.
    Joint,
}

/// How images of a batch depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// They don't: batches may be split and padded.
    Independent,
    /// Attention mixes the images of a batch, separately for each token position (`nn.TransformerEncoder` without `batch_first`).
    Coupled,
    /// Norm weights include the batch axis, so a batch must have exactly this many images.
    Fixed(usize),
}

/// Which tokens make the pooled vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// One token, or the mean or maximum of several tokens.
    Tokens(PoolKind),
    /// The mean of the class and the distillation token (timm's distilled DeiT; each of its heads reads its own token).
    ClassAndDistillation,
    /// Attention of one learned query to the tokens from this one on, then an MLP (`attn_pool`; SigLIP's head).
    Attention(usize),
    /// The class tokens of the last `layers` blocks, oldest first, and the mean of the last block's tokens from `from` on
    /// (DINOv2's linear heads).
    ClassAndMean {
        /// First token of the mean.
        from: usize,
        /// Blocks whose class token is taken.
        layers: usize,
    },
}

impl Pooling {
    /// The class token.
    pub const CLASS: Pooling = Pooling::Tokens(PoolKind::Token(0));
}

/// The sizes and options of a model, under timm's names. The weights stay as they are in the file, whatever these say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Image height and width in pixels.
    pub img_size: (usize, usize),
    /// Patch height and width in pixels.
    pub patch_size: (usize, usize),
    /// Colour channels.
    pub in_chans: usize,
    /// Width of a token: its number of channels (D).
    pub embed_dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Number of attention heads in each block (H).
    pub num_heads: usize,
    /// Width of one attention head (d). `num_heads · head_dim` may differ from `embed_dim`.
    pub head_dim: usize,
    /// Width of the MLP's hidden layer (M).
    pub mlp_hidden: usize,
    /// Whether patches go through a linear projection. If not, the pixels of a patch are the token.
    pub patch_proj: bool,
    /// Whether patches are normalised before they are projected.
    pub patch_norm: bool,
    /// Whether the patch projection has a bias.
    pub patch_bias: bool,
    /// Whether the projected patches are normalised (`patch_embed.norm`, AIMv2).
    pub embed_norm: bool,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether q and k are normalised within each head (`q_norm`, `k_norm`).
    pub qk_norm: bool,
    /// Whether the result of attention is normalised before the output projection (`attn.norm`, BEiT-3).
    #[serde(default)]
    pub attn_norm: bool,
    /// Whether attention has an output projection.
    pub attn_proj: bool,
    /// Whether the projection above has a bias.
    pub proj_bias: bool,
    /// Whether the MLP's hidden layer is normalised (`mlp.norm`, BEiT-3).
    #[serde(default)]
    pub mlp_norm: bool,
    /// Width of the hidden layer of attention pooling's MLP, where it is not [`VitConfig::mlp_hidden`].
    #[serde(default)]
    pub pool_mlp_hidden: Option<usize>,
    /// Whether the MLP's layers have biases; the first product of [`Block::ParallelScaling`] has one in any case.
    pub mlp_bias: bool,
    /// Whether a class token comes first.
    pub class_token: bool,
    /// Whether a distillation token comes second.
    pub dist_token: bool,
    /// Number of register tokens, which follow the class and distillation tokens.
    pub reg_tokens: usize,
    /// Whether there is a position table (`pos_embed`).
    pub pos_embed: bool,
    /// How many of the prefix tokens the position table covers.
    pub pos_prefix: usize,
    /// Whether a norm follows the position embedding (`norm_pre`, CLIP).
    pub pre_norm: bool,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// Over which axes norms compute mean and variance.
    pub norm_axes: NormAxes,
    /// Whether norms are RMSNorms, which subtract no mean and have no bias.
    pub rms_norm: bool,
    /// Where the norms are, and how attention and MLP are added to the residual.
    pub block: Block,
    /// What the MLP computes between its two linear layers.
    pub mlp: Mlp,
    /// The MLP's activation, or its gate's.
    pub act: Activation,
    /// Whether branches are scaled by a learned vector before they join the residual (`ls1`, `ls2`).
    pub layer_scale: bool,
    /// Multiplies the scores before the softmax.
    pub attn_scale: f32,
    /// Multiplies the probabilities after the softmax.
    pub attn_post_scale: f32,
    /// Whether the last block's output is normalised before pooling (`norm`).
    pub final_norm: bool,
    /// Which tokens are pooled, and how.
    pub pool: Pooling,
    /// Whether the pooled vector is normalised (`fc_norm`).
    pub fc_norm: bool,
    /// Width of a layer before the head (`pre_logits`, a pooler), if there is one.
    pub pre_logits: Option<usize>,
    /// The activation of the `pre_logits` layer; usually tanh.
    pub pre_logits_act: Activation,
    /// Width of CLIP's projection after the pooled vector, if there is one.
    pub projection: Option<usize>,
    /// Whether the projection above has a bias.
    #[serde(default)]
    pub projection_bias: bool,
    /// How the pooled vector becomes logits.
    pub head: Head,
    /// Number of classes (K); 0 if the model has no head.
    pub num_classes: usize,
    /// How images of a batch depend on each other.
    pub batch: Batch,
    /// Which tokens a token attends to.
    #[serde(default)]
    pub attends: Attends,
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
            patch_proj: true,
            patch_norm: false,
            patch_bias: true,
            embed_norm: false,
            qkv_bias: true,
            qk_norm: false,
            attn_norm: false,
            mlp_norm: false,
            pool_mlp_hidden: None,
            attn_proj: true,
            proj_bias: true,
            mlp_bias: true,
            class_token: true,
            dist_token: false,
            reg_tokens: 0,
            pos_embed: true,
            pos_prefix: 1,
            pre_norm: false,
            norm_eps: 1e-6,
            norm_axes: NormAxes::Channels,
            rms_norm: false,
            block: Block::PreNorm,
            mlp: Mlp::Plain,
            act: Activation::Gelu,
            layer_scale: false,
            attn_scale: (head_dim as f32).powf(-0.5),
            attn_post_scale: 1.0,
            final_norm: true,
            pool: Pooling::CLASS,
            fc_norm: false,
            pre_logits: None,
            pre_logits_act: Activation::Tanh,
            projection: None,
            projection_bias: false,
            head: Head::Linear,
            num_classes: 1000,
            batch: Batch::Independent,
            attends: Attends::All,
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

    /// Number of tokens (T): prefix tokens and patches.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.prefix_tokens() + self.grid().0 * self.grid().1
    }

    /// Number of values in one patch: channels · patch height · patch width.
    #[must_use]
    pub fn patch_len(&self) -> usize {
        self.in_chans * self.patch_size.0 * self.patch_size.1
    }

    /// Width of each of q, k and v: `num_heads · head_dim`.
    #[must_use]
    pub fn attn_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of the pooled tokens, before the `pre_logits` layer and the projection.
    #[must_use]
    pub fn pool_dim(&self) -> usize {
        match self.pool {
            Pooling::ClassAndMean { layers, .. } => (layers + 1) * self.embed_dim,
            Pooling::Tokens(_) | Pooling::Attention(_) | Pooling::ClassAndDistillation => self.embed_dim,
        }
    }

    /// Width of the `pooled` output (F), after the `pre_logits` layer and the projection.
    #[must_use]
    pub fn pooled_dim(&self) -> usize {
        self.projection.or(self.pre_logits).unwrap_or(self.pool_dim())
    }

    /// The batch size that the weights are shaped for; 1 if any batch size can be run.
    #[must_use]
    pub fn weight_batch(&self) -> usize {
        if let Batch::Fixed(size) = self.batch { size } else { 1 }
    }

    /// Checks that the sizes are possible and fit each other.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, with `file` as the file at fault.
    pub fn validate(&self, file: &str) -> Result<()> {
        let fail = |reason: String| Err(Error::config(file, reason));
        // Far larger than in any known model, and small enough that the product of two sizes can't overflow.
        let wide = 1 << 20;
        let pool = self.pool_mlp_hidden.unwrap_or(self.mlp_hidden);
        for (name, value, most) in [
            ("embed_dim", self.embed_dim, wide),
            ("depth", self.depth, 1 << 12),
            ("num_heads", self.num_heads, wide),
            ("head_dim", self.head_dim, wide),
            ("mlp hidden size", self.mlp_hidden.min(pool), wide),
            ("mlp hidden size", self.mlp_hidden.max(pool), wide),
            ("in_chans", self.in_chans, 1 << 12),
            ("patch_size", self.patch_size.0.min(self.patch_size.1), wide),
            ("patch_size", self.patch_size.0.max(self.patch_size.1), 1 << 14),
            ("pre_logits", self.pre_logits.unwrap_or(1), wide),
            ("projection", self.projection.unwrap_or(1), wide),
            ("reg_tokens", self.reg_tokens.saturating_add(1), 1 << 12),
            ("num_classes", self.num_classes.saturating_add(usize::from(self.head == Head::None)), 1 << 24),
        ] {
            if value == 0 || value > most {
                return fail(format!("{name} is {value}"));
            }
        }
        if self.head_dim > 256 {
            return fail(format!("head width {} is over 256", self.head_dim));
        }
        let (grid_h, grid_w) = self.grid();
        if grid_h == 0 || grid_w == 0 || self.img_size.0.max(self.img_size.1) > 1 << 16 {
            let ((h, w), (ph, pw)) = (self.img_size, self.patch_size);
            return fail(format!(
                "an image of {h}x{w} can't be cut into patches of {ph}x{pw}: it has none, or too many"
            ));
        }
        if self.tokens() > 1 << 20 {
            return fail(format!("an image of {}x{} makes {} tokens", self.img_size.0, self.img_size.1, self.tokens()));
        }
        if self.pos_prefix > self.prefix_tokens() {
            return fail(format!(
                "the position table covers {} prefix tokens, the model has {}",
                self.pos_prefix,
                self.prefix_tokens()
            ));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return fail(format!("norm eps is {}", self.norm_eps));
        }
        let (first, layers) = match self.pool {
            Pooling::Tokens(kind) => (kind.first(), 1),
            Pooling::Attention(from) => (from, 1),
            Pooling::ClassAndDistillation => (1, 1),
            Pooling::ClassAndMean { from, layers } => (from, layers),
        };
        if first >= self.tokens() || layers == 0 || layers > self.depth.max(1) {
            return fail(format!("{:?} of {} tokens and {} blocks", self.pool, self.tokens(), self.depth));
        }
        if let Err(reason) = self.attends.check(self.tokens(), self.batch == Batch::Independent) {
            return fail(reason);
        }
        if let Batch::Fixed(size @ (0 | 65_537..)) = self.batch {
            return fail(format!("a batch of {size} images"));
        }
        if !self.attn_proj && self.attn_dim() != self.embed_dim {
            return fail(format!(
                "{} heads of width {} don't add up to the width {}, which attention without an output projection needs",
                self.num_heads, self.head_dim, self.embed_dim
            ));
        }
        if !self.patch_proj && self.patch_len() != self.embed_dim {
            return fail(format!(
                "patches have {} values, but without a projection they must have the width {}",
                self.patch_len(),
                self.embed_dim
            ));
        }
        if let Block::ParallelThings(branches @ (0 | 257..)) = self.block {
            return fail(format!("a block of {branches} branches"));
        }
        if [self.attn_scale, self.attn_post_scale].iter().any(|scale| !scale.is_finite()) {
            return fail("the scale of attention is not finite".to_owned());
        }
        let both = self.head == Head::Distilled || self.pool == Pooling::ClassAndDistillation;
        if both && !(self.class_token && self.dist_token) {
            return fail("a distilled model needs a class and a distillation token".to_owned());
        }
        Ok(())
    }
}
