//! The vision towers of CLIP and SigLIP: alone, with a projection or a classifier, or as part of the whole model.

use super::{KEYS, agree, by_processor, has_heads, has_no_labels, heads, image_size, in_block};
use crate::checkpoint::{Family, keys};
use serde_json::{Value, json};

use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};
use crate::preprocess::Transform;

const CONV: &str = "embeddings.patch_embedding.weight";

const TYPES: [&str; 5] = ["clip", "clip_vision_model", "siglip", "siglip_vision_model", "git_vision_model"];

/// Keys of their configurations, besides those that every encoder has. Keys of the text tower and of the loss are not read.
pub(super) const OWN_KEYS: [&str; 10] = [
    "projection_dim",
    "vision_use_head",
    "text_config",
    "text_config_dict",
    "vision_config_dict",
    "logit_scale_init_value",
    "vision_config",
    "logit_scale",
    "logit_bias",
    "vocab_size",
];

pub static FAMILY: Family = Family {
    name: "huggingface-clip",
    detect: |names| own(names).has(CONV),
    configure,
    recipe,
    positions: |_| Positions::square_on_request(Resample::Bicubic),
    ignorable: |name, cfg| {
        // Only a classifier pools the mean of the tokens.
        let classifies = cfg.head != Head::None || matches!(cfg.pool, Pooling::Tokens(PoolKind::Mean(_)));
        name.ends_with("embeddings.position_ids")
            || ["text_model.", "text_projection.", "logit_scale", "logit_bias"].iter().any(|text| name.starts_with(text))
            // A classifier averages the patches: norm and head of the pooled output go unused.
            || (classifies && (name.contains("post_layernorm.") && !cfg.final_norm || name.contains("vision_model.head.")))
            || (classifies && name.starts_with("head."))
    },
    own_keys: None,
    transform,
};

fn own(names: &Names) -> Names {
    let nested = names.has(&format!("vision_model.{CONV}"));
    names.under(if nested { "vision_model." } else { "" })
}

/// The vision part of the configuration. It is nested in the configuration of a whole model.
fn vision(names: &Names) -> Names {
    let Some(config) = &names.config else { return names.clone() };
    let mut nested = config.get("vision_config").filter(|nested| !nested.is_null()).unwrap_or(config).clone();
    // In old files, `vision_config_dict` overrides it (`CLIPConfig.__post_init__`).
    if let (Some(nested), Some(over)) =
        (nested.as_object_mut(), config.get("vision_config_dict").and_then(Value::as_object))
    {
        nested.extend(over.clone());
    }
    names.configured(Some(nested))
}

pub(super) fn is_siglip(names: &Names) -> bool {
    let own = own(names);
    !own.has("embeddings.class_embedding") && !own.has("pre_layrnorm.weight")
}

/// Whether the tensors are those of a classifier that may lack its head: its configuration is of both towers, but it has the
/// images' tower alone.
fn is_one_tower_of_two(names: &Names) -> bool {
    let other_tensors = names.iter().any(|name| name.starts_with("text_") || name == "visual_projection.weight");
    names.field("vision_config").is_some() && !other_tensors
}

fn configure(names: &Names) -> Result<VitConfig> {
    let (own, config) = (own(names), vision(names));
    let siglip = is_siglip(names);
    let model_type = names.text_field("model_type");
    if model_type.is_some_and(|kind| kind.starts_with("siglip2")) {
        let reason = "NaFlex models (model_type `siglip2`), whose images have any shape, can't be run";
        return Err(names.config_error(format!("{reason}; SigLIP 2 at a fixed size (model_type `siglip`) can")));
    }
    if let Some(kind) = model_type.filter(|kind| !TYPES.contains(kind)) {
        return Err(names.config_error(format!("model_type `{kind}` is not supported ({} are)", TYPES.join(", "))));
    }
    names.only_known(&[&keys::TRANSFORMERS, &KEYS, &OWN_KEYS])?;
    config.only_known_in(
        "vision_config",
        config.config.as_ref().unwrap_or(&json!({})),
        &[&keys::TRANSFORMERS, &KEYS, &OWN_KEYS],
    )?;
    let conv = own.expect(CONV, 4, FAMILY.name)?;
    let embed_dim = conv[0];
    agree(&config, &own, CONV)?;
    has_heads(names, FAMILY.name)?;
    names.agree_on_labels("classifier.weight")?;
    let fc1 = "encoder.layers.0.mlp.fc1.weight";
    config.agree("intermediate_size", &own, fc1, 0)?;
    let depth = config.depth("num_hidden_layers", &own, "encoder.layers.")?;
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, heads(&config, embed_dim)?);
    (cfg.in_chans, cfg.patch_size) = (conv[1], (conv[2], conv[3]));
    cfg.act = if siglip { Activation::GeluTanh } else { Activation::QuickGelu };
    super::common(&config, &mut cfg, if siglip { 1e-6 } else { 1e-5 })?;
    cfg.patch_bias = siglip;
    cfg.class_token = !siglip;
    cfg.pos_prefix = cfg.prefix_tokens();
    cfg.pre_norm = own.has("pre_layrnorm.weight");
    cfg.qkv_bias = own.has("encoder.layers.0.self_attn.q_proj.bias");
    cfg.mlp_hidden = own.expect(fc1, 2, FAMILY.name)?[0];
    cfg.num_classes = names.axis("classifier.weight", 0);
    cfg.head = if cfg.num_classes > 0 { Head::Linear } else { Head::None };
    // CLIP normalises its class token alone, after pooling; SigLIP every token.
    cfg.final_norm = siglip;
    let classifies = cfg.head != Head::None || has_no_labels(names, is_one_tower_of_two(names));
    let headless =
        config.bool_field("vision_use_head")? == Some(false) || !own.any("head.probe") && config.config.is_none();
    if siglip && !classifies && !own.has("head.probe") && (!headless || own.has("head.layernorm.weight")) {
        return Err(own.missing("head.probe", FAMILY.name));
    }
    (cfg.pool, cfg.fc_norm) = match (siglip, classifies) {
        // GIT's tower normalises every token.
        (false, false) if model_type == Some("git_vision_model") => {
            cfg.final_norm = true;
            (Pooling::CLASS, false)
        }
        (false, false) => (Pooling::CLASS, true),
        // Not normalised at all.
        (false, true) => (Pooling::Tokens(PoolKind::Mean(1)), false),
        (true, false) if own.has("head.probe") => (Pooling::Attention(0), false),
        (true, _) => (Pooling::Tokens(PoolKind::Mean(0)), false),
    };
    let projects = matches!(names.class(), "CLIPModel" | "CLIPVisionModelWithProjection");
    if projects || names.has("visual_projection.weight") {
        cfg.projection = Some(names.expect("visual_projection.weight", 2, FAMILY.name)?[0]);
        // In a whole model's configuration it is at the root; a single tower has it in its own configuration.
        names.agree("projection_dim", names, "visual_projection.weight", 0)?;
    }
    let table = own.expect("embeddings.position_embedding.weight", 2, FAMILY.name)?[0];
    cfg.img_size = image_size(&config, &cfg, table.saturating_sub(cfg.prefix_tokens()))?;
    Ok(cfg)
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let own = own(names);
    let d = cfg.embed_dim;
    let tensor = |name: &str, shape: &[usize]| Part::new(own.whole(name), shape);
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        return in_block(part, shape, |part| own.whole(&format!("encoder.layers.{i}.{}", in_layer(part))));
    }
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    // nn.MultiheadAttention keeps q, k and v in one tensor.
    let mut in_proj = shape.to_vec();
    in_proj[0] = 3 * cfg.attn_dim();
    let in_proj = || tensor(&format!("head.attention.in_proj_{kind}"), &in_proj);
    match part {
        "patch_embed.proj" if kind == "weight" => {
            vec![tensor(CONV, &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "patch_embed.proj" => vec![tensor("embeddings.patch_embedding.bias", shape)],
        "prefix_tokens" => vec![tensor("embeddings.class_embedding", &[d])],
        "pos_embed" => vec![tensor("embeddings.position_embedding.weight", shape)],
        "norm_pre" => vec![tensor(&format!("pre_layrnorm.{kind}"), shape)],
        "norm" | "fc_norm" => vec![tensor(&format!("post_layernorm.{kind}"), shape)],
        "projection" => vec![Part::new("visual_projection.weight", shape)],
        "head" => vec![Part::new(format!("classifier.{kind}"), shape)],
        "attn_pool" => vec![tensor("head.probe", &[1, 1, d])],
        "attn_pool.q" => vec![in_proj().rows(0, cfg.attn_dim())],
        "attn_pool.kv" => vec![in_proj().rows(cfg.attn_dim(), 2 * cfg.attn_dim())],
        "attn_pool.proj" => vec![tensor(&format!("head.attention.out_proj.{kind}"), shape)],
        "attn_pool.norm" => vec![tensor(&format!("head.layernorm.{kind}"), shape)],
        "attn_pool.mlp.fc1" => vec![tensor(&format!("head.mlp.fc1.{kind}"), shape)],
        "attn_pool.mlp.fc2" => vec![tensor(&format!("head.mlp.fc2.{kind}"), shape)],
        _ => vec![Part::new(canonical, shape)],
    }
}

/// The file's name for a part of a layer of either tower, such as `attn.q.weight`.
pub(super) fn in_layer(part: &str) -> String {
    let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
    let file = match part {
        "norm1" => "layer_norm1",
        "norm2" => "layer_norm2",
        "attn.q" => "self_attn.q_proj",
        "attn.k" => "self_attn.k_proj",
        "attn.v" => "self_attn.v_proj",
        "attn.proj" => "self_attn.out_proj",
        other => other,
    };
    format!("{file}.{kind}")
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    by_processor(names, cfg, if is_siglip(names) { "SiglipImageProcessor" } else { "CLIPImageProcessor" })
}
