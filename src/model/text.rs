//! The text half of a model of images and texts (CLIP, SigLIP): its configuration.
//!
//! A text tower runs as an image tower does, with tokens in place of patches: a token's row of the table of tokens, plus its
//! position's row of the table of positions. Both tables are read row by row where a text needs them, so that a vocabulary of
//! 256,000 tokens takes no memory on the device.

use super::{Attends, Head, Pooling, VitConfig};
use crate::error::{Error, Result};
use crate::ops::{Activation, PoolKind};

/// What the names of a text tower's weights begin with.
pub const TEXT: &str = "text.";

/// Which token's vector stands for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPooling {
    /// The first token.
    First,
    /// The last token, padding or not (SigLIP).
    Last,
    /// The first token with the highest id, which is the end of the text in OpenAI's vocabulary.
    Highest,
    /// The first token with this id, or token 0 if there is none.
    EndOfText(u32),
}

/// The sizes and options of a text tower.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// How many tokens there are.
    pub vocab_size: usize,
    /// Tokens of a text, padding included (T): 77 in CLIP, 64 in SigLIP.
    pub context: usize,
    /// Width of a token: its number of channels (D).
    pub embed_dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Number of attention heads in each block.
    pub num_heads: usize,
    /// Width of the MLP's hidden layer.
    pub mlp_hidden: usize,
    /// The MLP's activation.
    pub act: Activation,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// Whether branches are scaled by a learned vector before they join the residual.
    pub layer_scale: bool,
    /// Whether a token attends only to itself and to those before it (CLIP).
    pub causal: bool,
    /// Which token stands for the text.
    pub pool: TextPooling,
    /// Width of the projection after the pooled vector, if there is one.
    pub projection: Option<usize>,
    /// Whether the projection has a bias.
    pub projection_bias: bool,
    /// Whether logits have a bias (SigLIP).
    pub logit_bias: bool,
}

impl TextConfig {
    /// Checks the sizes that [`VitConfig::validate`] does not see, then all others.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, with `file` as the file at fault.
    pub fn validate(&self, file: &str) -> Result<()> {
        for (name, value) in [("vocab_size", self.vocab_size), ("context length", self.context)] {
            if value == 0 || value > 1 << 24 {
                return Err(Error::config(file, format!("{name} of the text tower is {value}")));
            }
        }
        self.tower(self.context, self.context - 1, self.context).validate(file)
    }

    /// Values of a text's vector.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.projection.unwrap_or(self.embed_dim)
    }

    /// The token that stands for a text.
    #[must_use]
    pub fn pooled_token(&self, ids: &[u32]) -> usize {
        let first = |wanted: u32| ids.iter().position(|id| *id == wanted).unwrap_or(0);
        match self.pool {
            TextPooling::First => 0,
            TextPooling::Last => ids.len().saturating_sub(1),
            TextPooling::Highest => first(ids.iter().copied().max().unwrap_or(0)),
            TextPooling::EndOfText(id) => first(id),
        }
    }

    /// The transformer for texts of `len` tokens of which `token` is pooled, and, if it is not causal, the first `attended` are
    /// attended to.
    #[must_use]
    pub fn tower(&self, len: usize, token: usize, attended: usize) -> VitConfig {
        let width = self.embed_dim;
        VitConfig {
            // Each token is a patch of one row, which is not projected.
            img_size: (len, width),
            patch_size: (1, width),
            in_chans: 1,
            mlp_hidden: self.mlp_hidden,
            patch_proj: false,
            patch_bias: false,
            class_token: false,
            pos_embed: false,
            pos_prefix: 0,
            norm_eps: self.norm_eps,
            act: self.act,
            layer_scale: self.layer_scale,
            pool: Pooling::Tokens(PoolKind::Token(token)),
            projection: self.projection,
            projection_bias: self.projection_bias,
            head: Head::None,
            num_classes: 0,
            attends: match self.causal {
                true => Attends::Causal,
                false if attended < len => Attends::First(attended),
                false => Attends::All,
            },
            ..VitConfig::plain(1, 1, width, self.depth, self.num_heads)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pooling_finds_its_token() {
        let mut cfg = TextConfig {
            vocab_size: 10,
            context: 5,
            embed_dim: 4,
            depth: 1,
            num_heads: 1,
            mlp_hidden: 8,
            act: Activation::Gelu,
            norm_eps: 1e-5,
            layer_scale: false,
            causal: true,
            pool: TextPooling::Highest,
            projection: None,
            projection_bias: false,
            logit_bias: false,
        };
        let ids = [8, 3, 9, 9, 0];
        assert_eq!(cfg.pooled_token(&ids), 2);
        for (pool, token) in [
            (TextPooling::First, 0),
            (TextPooling::Last, 4),
            (TextPooling::EndOfText(3), 1),
            (TextPooling::EndOfText(7), 0),
        ] {
            cfg.pool = pool;
            assert_eq!(cfg.pooled_token(&ids), token, "{pool:?}");
        }
        assert_eq!(cfg.tower(3, 2, 3).tokens(), 3);
        assert!(cfg.validate("a").is_ok());
        cfg.vocab_size = 0;
        assert_eq!(cfg.validate("a").unwrap_err().to_string(), "a: vocab_size of the text tower is 0");
    }
}
