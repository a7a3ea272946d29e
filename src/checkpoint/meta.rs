//! Meta's original DINO, DINOv2 and MAE files. They have timm's tensor names except for registers, SwiGLU, masks, decoders and linear heads.
//!
//! DINOv2 is recognised by its tensor names. DINO has exactly timm's names, so it needs `"model_type": "dino"` in a `config.json`, which
//! changes only how its position table is resampled.

use super::names::Names;
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Family, timm, transforms};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::preprocess::{Filter, Transform};

pub static FAMILY: Family = Family {
    name: "meta",
    detect: |names| kind(names).is_some(),
    configure,
    recipe,
    positions: |names| match kind(names) {
        Some(Kind::Dino) => Positions::square_always(Resample::BicubicOffset),
        Some(Kind::Dinov2) if backbone(names).has("register_tokens") => {
            Positions::square_always(Resample::BicubicAntialias)
        }
        Some(Kind::Dinov2) => Positions::square_always(Resample::BicubicOffset),
        Some(Kind::Mae) | None => Positions::on_request(Resample::Bicubic),
    },
    ignorable: |name, _| {
        // Mask tokens and MAE's decoder are used in pre-training only.
        name.ends_with("mask_token") || name.starts_with("decoder_")
    },
    own_keys: Some(&["architecture", "model_args", "pretrained_cfg", "num_features", "global_pool"]),
    transform,
};

enum Kind {
    Dino,
    Dinov2,
    Mae,
}

fn kind(names: &Names) -> Option<Kind> {
    let own = backbone(names);
    if !own.has("patch_embed.proj.weight") {
        return None;
    }
    match names.text_field("model_type") {
        Some("dino") => return Some(Kind::Dino),
        Some("dinov2") => return Some(Kind::Dinov2),
        Some("mae") => return Some(Kind::Mae),
        _ => {}
    }
    if own.has("register_tokens")
        || own.has("mask_token") && own.has("blocks.0.ls1.gamma")
        || names.has("linear_head.weight")
    {
        return Some(Kind::Dinov2);
    }
    own.has("decoder_embed.weight").then_some(Kind::Mae)
}

/// The encoder's names: a classifier keeps it under `backbone.`.
fn backbone(names: &Names) -> Names {
    if names.has("backbone.patch_embed.proj.weight") { names.under("backbone.") } else { names.clone() }
}

fn configure(names: &Names) -> Result<VitConfig> {
    let own = backbone(names);
    let mut cfg = timm::configure(&own)?;
    if !cfg.class_token {
        return Err(own.missing("cls_token", FAMILY.name));
    }
    let classes = names.axis("linear_head.weight", 0);
    if classes > 0 {
        // [C, 2·D]: class token and mean of the patches; [C, 5·D]: the class tokens of the last four blocks.
        let blocks = names.axis("linear_head.weight", 1) / cfg.embed_dim;
        cfg.pool = Pooling::ClassAndMean { from: cfg.prefix_tokens(), layers: blocks.saturating_sub(1).max(1) };
        (cfg.head, cfg.num_classes) = (Head::Linear, classes);
    }
    Ok(cfg)
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    if names.has("linear_head.weight") && canonical.starts_with("head.") {
        return vec![Part::new(format!("linear_{canonical}"), shape)];
    }
    let own = backbone(names);
    let mut parts = timm::recipe(canonical, shape, cfg, &own);
    parts.iter_mut().for_each(|part| part.tensor = own.whole(&part.tensor));
    parts
}

/// The preprocessing of the published evaluations: resize to 256, crop to 224, bicubic, ImageNet's mean and std; the same ratio at other sizes.
fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    if let Some(own) = transforms::own(names, cfg) {
        return own;
    }
    let transform = transforms::torchvision((224, 224), false).with_size(cfg.img_size);
    Ok(Transform { filter: Filter::Bicubic, ..transform })
}
