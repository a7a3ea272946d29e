//! The canonical weights: their names (timm's), their shapes, and how an executor asks for them.

use super::{Head, VitConfig};
use crate::error::Result;

/// A weight the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// Canonical name.
    pub name: String,
    /// Row-major shape; matrices are `[out, in]`.
    pub shape: Vec<usize>,
}

/// Gives an executor its weights one at a time, so that no second copy of the model is ever in memory.
pub trait WeightLoader: Send + Sync {
    /// Fills `out` with rows `first..` of the weight `name`, as f32; `out` decides how many.
    ///
    /// # Errors
    /// Whatever reading the checkpoint can fail with.
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()>;
}

/// Every weight of a configuration, in the order of the forward pass.
#[must_use]
pub fn weight_specs(cfg: &VitConfig) -> Vec<WeightSpec> {
    let mut specs = Specs(Vec::new());
    let (d, a, m) = (cfg.embed_dim, cfg.attn_dim(), cfg.mlp_hidden);
    specs.add("patch_embed.proj.weight", &[d, cfg.patch_len()]);
    if cfg.patch_bias {
        specs.add("patch_embed.proj.bias", &[d]);
    }
    if cfg.prefix_tokens() > 0 {
        specs.add("prefix_tokens", &[cfg.prefix_tokens(), d]);
    }
    let (grid_h, grid_w) = cfg.grid();
    specs.add("pos_embed", &[cfg.pos_prefix + grid_h * grid_w, d]);
    if cfg.pre_norm {
        specs.norm("norm_pre", d);
    }
    for i in 0..cfg.depth {
        let at = |name: &str| format!("blocks.{i}.{name}");
        specs.norm(&at("norm1"), d);
        specs.linear(&at("attn.qkv"), 3 * a, d, cfg.qkv_bias);
        specs.linear(&at("attn.proj"), d, a, true);
        if cfg.layer_scale {
            specs.add(&at("ls1.gamma"), &[d]);
        }
        specs.norm(&at("norm2"), d);
        specs.linear(&at("mlp.fc1"), m, d, true);
        specs.linear(&at("mlp.fc2"), d, m, true);
        if cfg.layer_scale {
            specs.add(&at("ls2.gamma"), &[d]);
        }
    }
    if cfg.final_norm {
        specs.norm("norm", d);
    }
    if cfg.fc_norm {
        specs.norm("fc_norm", d);
    }
    if let Some(width) = cfg.pre_logits {
        specs.linear("pre_logits.fc", width, d, true);
    }
    if cfg.head != Head::None {
        specs.linear("head", cfg.num_classes, cfg.pooled_dim(), true);
    }
    if cfg.head == Head::Distilled {
        specs.linear("head_dist", cfg.num_classes, cfg.pooled_dim(), true);
    }
    specs.0
}

struct Specs(Vec<WeightSpec>);

impl Specs {
    fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push(WeightSpec { name: name.to_owned(), shape: shape.to_vec() });
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width]);
        self.add(&format!("{name}.bias"), &[width]);
    }

    fn linear(&mut self, name: &str, out: usize, inner: usize, bias: bool) {
        self.add(&format!("{name}.weight"), &[out, inner]);
        if bias {
            self.add(&format!("{name}.bias"), &[out]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch;

    /// Exact parameter counts of timm's and torchvision's published models.
    #[test]
    fn parameter_counts_match_the_published_ones() {
        for (name, count) in [
            ("vit_tiny_patch16_224", 5_717_416),
            ("vit_tiny_patch16_384", 5_790_376),
            ("vit_small_patch32_224", 22_878_952),
            ("vit_small_patch16_224", 22_050_664),
            ("vit_small_patch8_224", 22_055_272),
            ("vit_base_patch32_224", 88_224_232),
            ("vit_base_patch32_384", 88_297_192),
            ("vit_base_patch16_224", 86_567_656),
            ("vit_base_patch16_384", 86_859_496),
            ("vit_base_patch8_224", 86_576_872),
            ("vit_large_patch16_224", 304_326_632),
            ("vit_large_patch32_224", 306_535_400),
            ("vit_huge_patch14_224", 632_045_800),
            ("deit_base_distilled_patch16_224", 87_338_192),
        ] {
            let cfg = arch::lookup(name).unwrap();
            let sum: usize = weight_specs(&cfg).iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
            assert_eq!(sum, count, "{name}");
        }
    }
}
