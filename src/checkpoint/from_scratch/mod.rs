//! ViTs that people write themselves from tutorials: tensor names and peculiarities of five of them. What tensors can't show is read from a
//! `config.json` with `"model_type": "vit_gpu"` (`docs/your-own-vit.md`).

pub mod lucidrains;
mod patchlayer;
mod per_head;
mod torch_encoder;
mod zuppichini;

use super::names::{Names, grid};
use super::recipe::{Part, Recipe};
use super::{Family, transforms};
use crate::error::Result;
use crate::model::{Pooling, VitConfig, arch};
use crate::ops::PoolKind;
use crate::preprocess::Transform;

pub use lucidrains::FAMILY as LUCIDRAINS;
pub use patchlayer::FAMILY as PATCHLAYER;
pub use per_head::FAMILY as PER_HEAD;
pub use torch_encoder::FAMILY as TORCH_ENCODER;
pub use zuppichini::FAMILY as ZUPPICHINI;

/// A field of `config.json` without which the model can't be run.
fn required(names: &Names, field: &str) -> Result<usize> {
    match names.size_field(field)? {
        Some(value) if value > 0 => Ok(value),
        _ => Err(names.config_error(format!("`{field}` must be given: it can't be seen in the tensors"))),
    }
}

/// A configuration of these families: eps 1e-5, erf GELU, heads side by side over the width unless told otherwise.
fn plain(names: &Names, embed_dim: usize, depth: usize, num_heads: usize) -> Result<VitConfig> {
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, num_heads);
    cfg.norm_eps = names.number_field("eps")?.map_or(1e-5, |eps| eps as f32);
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    Ok(cfg)
}

/// The patch size for patches of `len` values: `patch_size` if it is given, otherwise a square.
fn patch_size(names: &Names, cfg: &mut VitConfig, len: usize) -> Result<()> {
    cfg.in_chans = names.size_field("in_chans")?.unwrap_or(3);
    let square = || {
        let side = (len / cfg.in_chans.max(1)).isqrt();
        Some((side, side))
    };
    let found = names
        .pair_field("patch_size")?
        .or_else(square)
        .filter(|(h, w)| crate::ops::product(&[*h, *w, cfg.in_chans]) == len);
    cfg.patch_size = found.ok_or_else(|| {
        names.config_error(format!(
            "`patch_size` must be given: patches of {len} values are not square with {} channels",
            cfg.in_chans
        ))
    })?;
    Ok(())
}

/// The image size for this number of patches: `img_size` if it is given, otherwise a square.
fn img_size(names: &Names, cfg: &mut VitConfig, patches: usize) -> Result<()> {
    let (ph, pw) = cfg.patch_size;
    let given = names.pair_field("img_size")?;
    let found = match given {
        Some((h, w)) => ((h / ph) * (w / pw) == patches).then_some((h, w)),
        None => grid(patches, None).map(|(h, w)| (h * ph, w * pw)),
    };
    cfg.img_size = found.ok_or_else(|| match given {
        Some((h, w)) => names.config_error(format!(
            "`img_size` {h}x{w} has {}x{} patches, but the position table is for {patches}",
            h / ph,
            w / pw
        )),
        None => names.config_error(format!("`img_size` must be given: {patches} patches are not a square grid")),
    })?;
    Ok(())
}

/// `global_pool`: `token`, or `avg` over the tokens from `from` on.
pub fn pooling(names: &Names, default: Pooling, from: usize) -> Result<Pooling> {
    match names.text_field("global_pool") {
        None => Ok(default),
        Some(name) => match arch::global_pool(name, from) {
            Some(pool @ (Pooling::CLASS | Pooling::Tokens(PoolKind::Mean(_)))) => Ok(pool),
            _ => {
                Err(names.config_error(format!("global_pool `{name}` is not supported here (only token and avg are)")))
            }
        },
    }
}

/// A patch projection `[D, P, P, C]` with channels last, permuted to the layout of a convolution.
fn channels_last(name: impl Into<String>, cfg: &VitConfig) -> Recipe {
    let (ph, pw) = cfg.patch_size;
    let (d, c) = (cfg.embed_dim, cfg.in_chans);
    vec![Part::new(name, &[d, ph * pw * c]).permuted(&[d, ph, pw, c], &[0, 3, 1, 2])]
}

/// Resized to the model's size without keeping the shape, bilinear. Mean and standard deviation are used only if `config.json` has them.
fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    let json = names.config.clone().unwrap_or_default();
    transforms::plain(&json, cfg.img_size).map_err(|reason| names.config_error(reason))
}

/// Whether `config.json` names another family than this one.
pub fn contradicts(names: &Names, family: &Family) -> Option<String> {
    let named = names.text_field("family").filter(|_| names.text_field("model_type") == Some("vit_gpu"))?;
    (named != family.name).then(|| format!("`family` is `{named}`, the tensors are those of {}", family.name))
}
