//! lucidrains' `ViT` and `SimpleViT` of all versions (github.com/lucidrains/vit-pytorch, `vit_pytorch/vit.py` and its history).
//!
//! Between versions, tensor names changed, and so did the computation: where norms are, which tokens are averaged, how scores are scaled.

use super::{channels_last, img_size, patch_size, plain, pooling, transform};
use crate::checkpoint::Family;
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};

pub static FAMILY: Family = Family {
    name: "lucidrains",
    detect: |names| {
        names.has("patch_to_embedding.weight")
            || names.has("to_patch_embedding.1.weight") && names.count("transformer.layers.") > 0
    },
    configure,
    recipe,
    positions: |names| {
        let fixed = is_simple(names) && !names.has("pos_embedding");
        Positions::on_request(if fixed { Resample::SinCos } else { Resample::BicubicAntialias })
    },
    ignorable: |_, _| false,
    own_keys: Some(&["dim_head", "version", "global_pool"]),
    transform,
};

/// Whether it is a `SimpleViT`, which computes its positions and has no class token.
fn is_simple(names: &Names) -> bool {
    ["linear_head.weight", "linear_head.bias", "linear_head.1.weight", "linear_head.1.bias"]
        .iter()
        .any(|name| names.any(name))
}

/// Whether the patches' projection lies between two norms, as it does since 1.0.
fn is_normed(names: &Names) -> bool {
    ["2.weight", "2.bias", "3.weight"].iter().any(|part| names.has(&format!("to_patch_embedding.{part}")))
}

/// The tensor names within `transformer.layers.i`, which depend on the version.
struct LayerNames {
    norm1: &'static str,
    qkv: &'static str,
    out: Option<&'static str>,
    norm2: &'static str,
    fc1: &'static str,
    fc2: &'static str,
}

impl LayerNames {
    fn of(names: &Names) -> LayerNames {
        let old = names.any(".0.fn.fn.to_qkv.weight") || names.any(".0.fn.norm.weight");
        let middle = names.any(".0.fn.to_qkv.weight") || names.any(".1.fn.net.0.weight");
        let out = |linear, alone| match (
            names.any("to_out.0.weight") || names.any("to_out.0.bias"),
            names.any("to_out.weight"),
        ) {
            (true, _) => Some(linear),
            (_, true) => Some(alone),
            // With one head as wide as the model, there is no output projection.
            _ => None,
        };
        if old {
            let out = out("0.fn.fn.to_out.0", "0.fn.fn.to_out");
            // Version 0.2.1 added a dropout layer in between, which changed the number.
            let fc2 = if names.any(".1.fn.fn.net.3.weight") { "1.fn.fn.net.3" } else { "1.fn.fn.net.2" };
            let (norm2, fc1) = ("1.fn.norm", "1.fn.fn.net.0");
            return LayerNames { norm1: "0.fn.norm", qkv: "0.fn.fn.to_qkv", out, norm2, fc1, fc2 };
        }
        if middle {
            let out = out("0.fn.to_out.0", "0.fn.to_out");
            let fc2 = if names.any(".1.fn.net.3.weight") { "1.fn.net.3" } else { "1.fn.net.2" };
            return LayerNames { norm1: "0.norm", qkv: "0.fn.to_qkv", out, norm2: "1.norm", fc1: "1.fn.net.0", fc2 };
        }
        let fc2 = if names.any(".1.net.4.weight") { "1.net.4" } else { "1.net.3" };
        let out = out("0.to_out.0", "0.to_out");
        LayerNames { norm1: "0.norm", qkv: "0.to_qkv", out, norm2: "1.net.0", fc1: "1.net.1", fc2 }
    }
}

/// Whether a version text is before `major.minor.patch`.
fn before(version: &str, wanted: [u32; 3]) -> Option<bool> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let mut found = [0; 3];
    for slot in &mut found {
        match parts.next() {
            Some(part) => *slot = part?,
            None => break,
        }
    }
    Some(found < wanted)
}

/// The layers of the head in order: up to a norm, a hidden layer and the last.
struct HeadNames {
    norm: Option<String>,
    hidden: Option<String>,
    last: Option<String>,
}

impl HeadNames {
    /// Up to 0.1 `Linear, GELU, Linear`; up to 0.2 with a norm before; then `LayerNorm, Linear`; since 1.4 `Linear` alone.
    fn of(names: &Names) -> HeadNames {
        let base = if is_simple(names) { "linear_head" } else { "mlp_head" };
        let mut found = HeadNames { norm: None, hidden: None, last: None };
        let modules = std::iter::once(base.to_owned()).chain((0..8).map(|i| format!("{base}.{i}")));
        for module in modules {
            match names.shape(&format!("{module}.weight")).map(<[usize]>::len) {
                Some(1) => found.norm = Some(module),
                Some(_) => found.hidden = found.last.replace(module),
                // The weight is missing, so whether it is a norm or a layer is decided by the name.
                None if names.has(&format!("{module}.bias")) => match module.ends_with(".0") {
                    true => found.norm = Some(module),
                    false => found.hidden = found.last.replace(module),
                },
                None => {}
            }
        }
        found
    }
}

fn configure(names: &Names) -> Result<VitConfig> {
    let normed = is_normed(names);
    let projection = projection(names);
    let &[embed_dim, len] = names.expect(&format!("{projection}.weight"), 2, FAMILY.name)? else {
        return Err(names.error("the patch projection is not a matrix"));
    };
    let own = LayerNames::of(names);
    let at = |name: &str| format!("transformer.layers.0.{name}.weight");
    let inner = names.expect(&at(own.qkv), 2, FAMILY.name)?[0] / 3;
    let num_heads = match (names.size_field("num_heads")?, names.size_field("dim_head")?) {
        (Some(heads), _) if heads > 0 => heads,
        (_, Some(width)) if width > 0 => inner / width,
        _ => return Err(names.config_error("`num_heads` must be given: it can't be seen in the tensors")),
    };
    if num_heads == 0 || !inner.is_multiple_of(num_heads) {
        return Err(names.config_error(format!("{num_heads} heads don't divide an attention {inner} wide")));
    }
    let mut cfg = plain(names, embed_dim, names.count("transformer.layers."), num_heads)?;
    cfg.head_dim = inner / num_heads;
    cfg.attn_scale = (scale_width(names, &cfg)? as f32).powf(-0.5);
    patch_size(names, &mut cfg, len)?;
    (cfg.patch_norm, cfg.embed_norm) = (normed, normed);
    cfg.qkv_bias = false;
    cfg.attn_proj = own.out.is_some();
    cfg.proj_bias = !is_simple(names);
    cfg.mlp_hidden = names.expect(&at(own.fc1), 2, FAMILY.name)?[0];
    cfg.final_norm = names.has("transformer.norm.weight") || names.has("transformer.norm.bias");
    let head = HeadNames::of(names);
    cfg.fc_norm = head.norm.is_some();
    if let Some(hidden) = &head.hidden {
        cfg.pre_logits = Some(names.expect(&format!("{hidden}.weight"), 2, FAMILY.name)?[0]);
        cfg.pre_logits_act = Activation::Gelu;
    }
    (cfg.head, cfg.num_classes) = match &head.last {
        Some(last) => (Head::Linear, names.expect(&format!("{last}.weight"), 2, FAMILY.name)?[0]),
        None => (Head::None, 0),
    };

    let cls = names.shape("cls_token").map_or(0, |shape| shape.iter().product::<usize>() / embed_dim.max(1));
    cfg.class_token = cls > 0;
    cfg.pos_prefix = cls;
    let whole = Pooling::Tokens(PoolKind::Mean(0));
    // Up to 1.15 the mean includes the class token.
    cfg.pool = if cfg.class_token { pooling(names, Pooling::CLASS, 0)? } else { whole };
    if names.has("pos_embedding") {
        let table =
            names.axis("pos_embedding", names.shape("pos_embedding").map_or(0, <[usize]>::len).saturating_sub(2));
        if !cfg.class_token
            && !is_simple(names)
            && names.shape("cls_token").is_none()
            && names.text_field("global_pool") != Some("avg")
        {
            return Err(names.missing("cls_token", FAMILY.name));
        }
        img_size(names, &mut cfg, table.saturating_sub(cls))?;
    } else if is_simple(names) {
        let (h, w) = names
            .pair_field("img_size")?
            .ok_or_else(|| names.config_error("`img_size` must be given: it can't be seen in the tensors"))?;
        cfg.img_size = (h, w);
    } else {
        return Err(names.missing("pos_embedding", FAMILY.name));
    }
    Ok(cfg)
}

fn projection(names: &Names) -> &'static str {
    if names.has("patch_to_embedding.weight") {
        "patch_to_embedding"
    } else if is_normed(names) {
        "to_patch_embedding.2"
    } else {
        "to_patch_embedding.1"
    }
}

/// The width whose square root divides the scores: the head's, or before 0.6.7 the model's.
fn scale_width(names: &Names, cfg: &VitConfig) -> Result<usize> {
    if !names.has("patch_to_embedding.weight") {
        return Ok(cfg.head_dim);
    }
    let Some(version) = names.text_field("version") else {
        let reason = "`version` must be given: before 0.6.7 vit-pytorch scaled scores by the model's width";
        return Err(names.config_error(reason));
    };
    match before(version, [0, 6, 7]) {
        Some(true) => Ok(cfg.embed_dim),
        Some(false) => Ok(cfg.head_dim),
        None => Err(names.config_error(format!("`version` is `{version}`"))),
    }
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let d = cfg.embed_dim;
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    if let Some((i, part)) = part.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let own = LayerNames::of(names);
        let own = match part {
            "norm1" => own.norm1,
            "attn.qkv" => own.qkv,
            "attn.proj" => own.out.unwrap_or("0.to_out.0"),
            "norm2" => own.norm2,
            "mlp.fc1" => own.fc1,
            "mlp.fc2" => own.fc2,
            other => other,
        };
        return vec![Part::new(format!("transformer.layers.{i}.{own}.{kind}"), shape)];
    }
    match part {
        "patch_embed.patch_norm" => {
            let (ph, pw) = cfg.patch_size;
            let last = [ph, pw, cfg.in_chans];
            vec![Part::new(format!("to_patch_embedding.1.{kind}"), shape).permuted(&last, &[2, 0, 1])]
        }
        "patch_embed.proj" if kind == "weight" => channels_last(format!("{}.weight", projection(names)), cfg),
        "patch_embed.proj" => vec![Part::new(format!("{}.bias", projection(names)), shape)],
        "patch_embed.norm" => vec![Part::new(format!("to_patch_embedding.3.{kind}"), shape)],
        // Before 1.16.1 the table has a leading axis of size 1.
        "prefix_tokens" if names.shape("cls_token").is_some_and(|shape| shape.len() == 2) => {
            vec![Part::new("cls_token", shape)]
        }
        "prefix_tokens" => vec![Part::new("cls_token", &[1, 1, d])],
        "pos_embed" if !names.has("pos_embedding") => Vec::new(),
        "pos_embed" if names.shape("pos_embedding").is_some_and(|shape| shape.len() == 2) => {
            vec![Part::new("pos_embedding", shape)]
        }
        "pos_embed" => vec![Part::new("pos_embedding", &[1, shape[0], d])],
        "norm" => vec![Part::new(format!("transformer.norm.{kind}"), shape)],
        "fc_norm" | "pre_logits.fc" | "head" => {
            let head = HeadNames::of(names);
            let own = match part {
                "fc_norm" => head.norm,
                "head" => head.last,
                _ => head.hidden,
            };
            vec![Part::new(format!("{}.{kind}", own.unwrap_or_default()), shape)]
        }
        _ => vec![Part::new(canonical, shape)],
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_compare_by_number() {
        for (version, earlier) in [("0.6.6", true), ("0.6.7", false), ("0.10.0", false), ("0.6", true), ("1", false)] {
            assert_eq!(super::before(version, [0, 6, 7]), Some(earlier), "{version}");
        }
        assert_eq!(super::before("new", [0, 6, 7]), None);
    }
}
