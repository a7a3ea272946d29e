//! DINOv2, with registers or without.

use super::{CONV, KEYS, agree, by_processor, common, has_heads, has_no_labels, heads, image_size, in_block};
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::checkpoint::{Family, keys};
use crate::error::Result;
use crate::model::{Head, Mlp, Pooling, VitConfig};
use crate::ops::Activation;
use crate::preprocess::Transform;

const TYPES: [&str; 2] = ["dinov2", "dinov2_with_registers"];

/// Keys of their configurations, besides those that every encoder has. Keys of a backbone only choose which states it returns.
const OWN_KEYS: [&str; 10] = [
    "mlp_ratio",
    "layerscale_value",
    "use_swiglu_ffn",
    "num_register_tokens",
    "out_features",
    "out_indices",
    "stage_names",
    "apply_layernorm",
    "reshape_hidden_states",
    "use_mask_token",
];

pub static FAMILY: Family = Family {
    name: "huggingface-dinov2",
    detect: is_dinov2,
    configure,
    recipe,
    positions: |names| {
        let registers = own(names).has("embeddings.register_tokens");
        Positions::square_always(if registers { Resample::BicubicAntialias } else { Resample::Bicubic })
    },
    ignorable: |name, _| name.ends_with("embeddings.mask_token"),
    own_keys: None,
    transform: |names, cfg| -> Result<Transform> {
        // The published models use ImageNet's mean and std, not the defaults of the class.
        let mut transform = by_processor(names, cfg, "BitImageProcessor")?;
        (transform.mean, transform.std) = (crate::preprocess::IMAGENET_MEAN, crate::preprocess::IMAGENET_STD);
        Ok(transform)
    },
};

/// Whether it is a DINOv2. Unlike those of a ViT, its layers have layer scales and a `norm1`.
pub fn is_dinov2(names: &Names) -> bool {
    let own = own(names);
    own.has(CONV) && (own.has("encoder.layer.0.layer_scale1.lambda1") || own.has("encoder.layer.0.norm1.weight"))
}

fn own(names: &Names) -> Names {
    let base = ["dinov2.", "dinov2_with_registers."].into_iter().find(|base| names.has(&format!("{base}{CONV}")));
    names.under(base.unwrap_or(""))
}

fn configure(names: &Names) -> Result<VitConfig> {
    let own = own(names);
    if let Some(kind) = names.text_field("model_type").filter(|kind| !TYPES.contains(kind)) {
        return Err(names.config_error(format!("model_type `{kind}` is not supported ({} are)", TYPES.join(", "))));
    }
    names.only_known(&[&keys::TRANSFORMERS, &KEYS, &OWN_KEYS])?;
    let conv = own.expect(CONV, 4, FAMILY.name)?;
    agree(names, &own, CONV)?;
    has_heads(names, FAMILY.name)?;
    names.agree_on_labels("classifier.weight")?;
    names.agree("num_register_tokens", &own, "embeddings.register_tokens", 1)?;
    let depth = names.depth("num_hidden_layers", &own, "encoder.layer.")?;
    let mut cfg = VitConfig::plain(1, 1, conv[0], depth, heads(names, conv[0])?);
    (cfg.in_chans, cfg.patch_size) = (conv[1], (conv[2], conv[3]));
    cfg.reg_tokens = own.axis("embeddings.register_tokens", 1);
    let registers = names.text_field("model_type") == Some("dinov2_with_registers");
    if registers && cfg.reg_tokens == 0 && names.size_field("num_register_tokens")? != Some(0) {
        return Err(own.missing("embeddings.register_tokens", FAMILY.name));
    }
    common(names, &mut cfg, 1e-6)?;
    cfg.qkv_bias = names.bool_field("qkv_bias")?.unwrap_or_else(|| own.has(&name(&own, 0, "attn.q.bias")));
    cfg.layer_scale = true;
    cfg.mlp_hidden = own.expect(&name(&own, 0, "mlp.fc2.weight"), 2, FAMILY.name)?[1];
    let gated = swiglu(&own) != Swiglu::No;
    hidden_width(names, &own, &cfg, gated)?;
    if gated {
        // The gate is always SiLU; `hidden_act` is ignored, as in transformers.
        (cfg.mlp, cfg.act) = (Mlp::Glu, Activation::Silu);
    }
    cfg.num_classes = names.axis("classifier.weight", 0);
    if cfg.num_classes == 0 {
        cfg.head = Head::None;
    }
    // Only classifiers put the model's name before its tensors, so a state dict shows its class where the configuration doesn't.
    if cfg.num_classes > 0 || has_no_labels(names, own.whole(CONV) != CONV) {
        cfg.pool = Pooling::ClassAndMean { from: cfg.prefix_tokens(), layers: 1 };
    }
    let table = own.expect("embeddings.position_embeddings", 3, FAMILY.name)?[1];
    cfg.img_size = image_size(names, &cfg, table.saturating_sub(1))?;
    Ok(cfg)
}

/// Checks that the hidden width is the one that follows from `mlp_ratio` and `use_swiglu_ffn`.
fn hidden_width(names: &Names, own: &Names, cfg: &VitConfig, gated: bool) -> Result<()> {
    if let Some(stated) = names.bool_field("use_swiglu_ffn")?.filter(|stated| *stated != gated) {
        let tensor = own.whole(&name(own, 0, "mlp.fc2.weight"));
        let shape = names.shape_of(&tensor);
        return Err(names.contradiction("use_swiglu_ffn", stated, tensor, shape));
    }
    let Some(ratio) = names.number_field("mlp_ratio")? else { return Ok(()) };
    // Wider than any model is wide enough to differ.
    let plain = (cfg.embed_dim as f64 * ratio).min(f64::from(i32::MAX)) as usize;
    let stated = if gated { (plain * 2 / 3).div_ceil(8) * 8 } else { plain };
    if stated == cfg.mlp_hidden {
        return Ok(());
    }
    let tensor = own.whole(&name(own, 0, "mlp.fc2.weight"));
    let shape = names.shape_of(&tensor);
    Err(names.contradiction("mlp_ratio", ratio, tensor, shape))
}

#[derive(PartialEq, Clone, Copy)]
enum Swiglu {
    No,
    /// `weights_in` holds gate and values (version 4).
    Packed,
    /// `gate_proj` and `up_proj` (version 5).
    Split,
}

fn swiglu(own: &Names) -> Swiglu {
    match (own.any(".mlp.weights_out.weight"), own.any(".mlp.down_proj.weight")) {
        (true, _) => Swiglu::Packed,
        (_, true) => Swiglu::Split,
        _ => Swiglu::No,
    }
}

/// The file's name for a part of block `i`.
fn name(own: &Names, i: usize, part: &str) -> String {
    let v5 = own.any(".attention.q_proj.weight");
    let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
    let file = match (part, swiglu(own), v5) {
        ("ls1" | "ls2", ..) => return format!("encoder.layer.{i}.{}.lambda1", part.replace("ls", "layer_scale")),
        ("mlp.fc1", Swiglu::Packed, _) => "mlp.weights_in",
        ("mlp.fc2", Swiglu::Packed, _) => "mlp.weights_out",
        ("mlp.fc2", Swiglu::Split, _) => "mlp.down_proj",
        ("attn.q", _, false) => "attention.attention.query",
        ("attn.k", _, false) => "attention.attention.key",
        ("attn.v", _, false) => "attention.attention.value",
        ("attn.proj", _, false) => "attention.output.dense",
        ("attn.q", _, true) => "attention.q_proj",
        ("attn.k", _, true) => "attention.k_proj",
        ("attn.v", _, true) => "attention.v_proj",
        ("attn.proj", _, true) => "attention.o_proj",
        (other, ..) => other,
    };
    format!("encoder.layer.{i}.{file}.{kind}")
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let own = own(names);
    let d = cfg.embed_dim;
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let i = i.parse().unwrap_or(0);
        if let (Some(kind), Swiglu::Split) = (part.strip_prefix("mlp.fc1."), swiglu(&own)) {
            let mut half = shape.to_vec();
            half[0] /= 2;
            let of = |proj: &str| Part::new(own.whole(&format!("encoder.layer.{i}.mlp.{proj}.{kind}")), &half);
            return vec![of("gate_proj"), of("up_proj")];
        }
        return in_block(part, shape, |part| own.whole(&name(&own, i, part)));
    }
    let embeddings = |name: &str, shape: &[usize]| Part::new(own.whole(&format!("embeddings.{name}")), shape);
    match canonical {
        "patch_embed.proj.weight" => {
            vec![Part::new(own.whole(CONV), &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "patch_embed.proj.bias" => vec![embeddings("patch_embeddings.projection.bias", shape)],
        "prefix_tokens" => {
            let mut parts = vec![embeddings("cls_token", &[1, 1, d])];
            parts.extend((cfg.reg_tokens > 0).then(|| embeddings("register_tokens", &[1, cfg.reg_tokens, d])));
            parts
        }
        "pos_embed" => vec![embeddings("position_embeddings", &[1, shape[0], d])],
        _ => match canonical.split_once('.') {
            Some(("norm", kind)) => vec![Part::new(own.whole(&format!("layernorm.{kind}")), shape)],
            Some(("head", kind)) => vec![Part::new(format!("classifier.{kind}"), shape)],
            _ => vec![Part::new(canonical, shape)],
        },
    }
}
