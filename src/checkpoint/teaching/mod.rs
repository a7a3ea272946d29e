//! The ViTs people write themselves from tutorials: names and quirks of five of them, with what tensors can't tell from a
//! `config.json` whose `model_type` is `vit_gpu` (`docs/your-own-vit.md`).

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
        _ => Err(names.config_error(format!("`{field}` must be given: the tensors don't tell it"))),
    }
}

/// A configuration of these families: eps 1e-5, erf GELU, heads side by side over the width unless told otherwise.
fn plain(names: &Names, embed_dim: usize, depth: usize, num_heads: usize) -> Result<VitConfig> {
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, num_heads);
    cfg.norm_eps = names.number_field("eps")?.map_or(1e-5, |eps| eps as f32);
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    Ok(cfg)
}

/// The patch's size from the length of its vector: `patch_size` where it is given, else a square.
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
            "`patch_size` must be given: patches of {len} values are no square of {} channels",
            cfg.in_chans
        ))
    })?;
    Ok(())
}

/// The image's size for a number of patches: `img_size` where it is given, else a square.
fn img_size(names: &Names, cfg: &mut VitConfig, patches: usize) -> Result<()> {
    let (ph, pw) = cfg.patch_size;
    let given = names.pair_field("img_size")?;
    let found = match given {
        Some((h, w)) => ((h / ph) * (w / pw) == patches).then_some((h, w)),
        None => grid(patches, None).map(|(h, w)| (h * ph, w * pw)),
    };
    cfg.img_size = found.ok_or_else(|| match given {
        Some((h, w)) => names.config_error(format!(
            "`img_size` {h}x{w} has {}x{} patches, the position table is for {patches}",
            h / ph,
            w / pw
        )),
        None => names.config_error(format!("`img_size` must be given: {patches} patches are no square")),
    })?;
    Ok(())
}

/// `global_pool`: `token`, or `avg` over the tokens from `from` on.
pub fn pooling(names: &Names, default: Pooling, from: usize) -> Result<Pooling> {
    match names.text_field("global_pool") {
        None => Ok(default),
        Some(name) => match arch::global_pool(name, from) {
            Some(pool @ (Pooling::CLASS | Pooling::Tokens(PoolKind::Mean(_)))) => Ok(pool),
            _ => Err(names.config_error(format!("global_pool `{name}` can't be run (token and avg can)"))),
        },
    }
}

/// A projection of patches whose channels come last: `[D, P, P, C]` seen as a convolution's.
fn channels_last(name: impl Into<String>, cfg: &VitConfig) -> Recipe {
    let (ph, pw) = cfg.patch_size;
    let (d, c) = (cfg.embed_dim, cfg.in_chans);
    vec![Part::new(name, &[d, ph * pw * c]).permuted(&[d, ph, pw, c], &[0, 3, 1, 2])]
}

/// Squashed to the size, bilinear; no mean or standard deviation unless `config.json` has them.
fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    let json = names.config.clone().unwrap_or_default();
    transforms::plain(&json, cfg.img_size).map_err(|reason| names.config_error(reason))
}

/// Whether `config.json` names another family than this one.
pub fn contradicts(names: &Names, family: &Family) -> Option<String> {
    let named = names.text_field("family").filter(|_| names.text_field("model_type") == Some("vit_gpu"))?;
    (named != family.name).then(|| format!("`family` is `{named}`, the tensors are those of {}", family.name))
}
