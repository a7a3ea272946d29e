//! The visual towers of OpenAI's CLIP and of open_clip (`open_clip/transformer.py`), timm models wrapped by it included.

use serde_json::{Value, json};

use super::names::{Names, grid, pair, size};
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Family, timm, transforms};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};
use crate::preprocess::Transform;

pub static FAMILY: Family = Family {
    name: "open_clip",
    detect: |names| is_trunk(names) || own(names).has("conv1.weight") && own(names).has("class_embedding"),
    configure,
    recipe,
    // Its resize_pos_embed, which runs when a checkpoint of another size is loaded.
    positions: |_| Positions::on_request(Resample::BicubicAntialias),
    ignorable: |name, _| {
        // The text tower, under its own name in newer models, without one in CLIP's.
        let text = [
            "text.",
            "transformer.",
            "token_embedding.",
            "positional_embedding",
            "ln_final.",
            "text_projection",
            "logit_scale",
            "logit_bias",
            "input_resolution",
            "context_length",
            "vocab_size",
            "attn_mask",
        ];
        text.iter().any(|text| name.starts_with(text))
    },
    transform,
};

fn is_trunk(names: &Names) -> bool {
    names.has("visual.trunk.patch_embed.proj.weight")
}

fn own(names: &Names) -> Names {
    names.under(if names.has("visual.conv1.weight") { "visual." } else { "" })
}

/// `model_cfg.vision_cfg` of open_clip_config.json.
fn vision_cfg(names: &Names) -> Option<&Value> {
    names.field("model_cfg")?.get("vision_cfg")
}

/// A wrapped timm model, with its configuration in timm's terms.
fn trunk(names: &Names) -> Names {
    let mut config = names.config.clone().unwrap_or(Value::Null);
    if let Some(vision) = vision_cfg(names) {
        let mut args = vision.get("timm_model_kwargs").cloned().unwrap_or_else(|| json!({}));
        // Its pooling is the model's own where it names none.
        if let Some(pool) = vision.get("timm_pool").and_then(Value::as_str).filter(|pool| !pool.is_empty()) {
            args["global_pool"] = pool.into();
        }
        args["img_size"] = vision.get("image_size").cloned().unwrap_or(Value::Null);
        config["model_args"] = args;
        config["timm_model_name"] = vision.get("timm_model_name").cloned().unwrap_or(Value::Null);
    }
    names.under("visual.trunk.").configured(Some(config))
}

fn configure(names: &Names) -> Result<VitConfig> {
    if is_trunk(names) {
        let mut cfg = timm::configure(&trunk(names))?;
        if names.has("visual.head.proj.weight")
            || vision_cfg(names).is_some_and(|vision| vision["timm_proj"] == "linear")
        {
            cfg.projection = Some(names.expect("visual.head.proj.weight", 2, FAMILY.name)?[0]);
        }
        return Ok(cfg);
    }
    let own = own(names);
    let conv = own.expect("conv1.weight", 4, FAMILY.name)?;
    let embed_dim = conv[0];
    let vision = vision_cfg(names);
    let given = |name: &str| vision.and_then(|vision| vision.get(name)).filter(|value| !value.is_null());
    let num_heads = match (names.size_field("num_heads")?, given("head_width").and_then(size)) {
        (Some(heads), _) => heads,
        (None, Some(width)) => embed_dim / width.max(1),
        // The default of open_clip, and what OpenAI computes from the width.
        (None, None) => (embed_dim / 64).max(1),
    };
    names.even_heads(embed_dim, num_heads)?;
    let mut cfg = VitConfig::plain(1, 1, embed_dim, own.count("transformer.resblocks."), num_heads);
    (cfg.in_chans, cfg.patch_size) = (conv[1], (conv[2], conv[3]));
    cfg.patch_bias = own.has("conv1.bias");
    cfg.norm_eps = 1e-5;
    // open_clip_config.json says; files without it are OpenAI's, whose activation it is.
    let quick = names.field("model_cfg").map(|cfg| cfg.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false));
    cfg.act = if quick.unwrap_or(true) { Activation::QuickGelu } else { Activation::Gelu };
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    cfg.pre_norm = own.has("ln_pre.weight");
    cfg.layer_scale = own.has("transformer.resblocks.0.ls_1.gamma");
    cfg.mlp_hidden = own.expect("transformer.resblocks.0.mlp.c_fc.weight", 2, FAMILY.name)?[0];
    (cfg.head, cfg.num_classes) = (Head::None, 0);
    (cfg.final_norm, cfg.fc_norm) = (false, own.has("ln_post.weight"));
    cfg.pool = match given("pool_type").and_then(Value::as_str).unwrap_or("tok") {
        "tok" => Pooling::CLASS,
        "avg" => Pooling::Tokens(PoolKind::Mean(1)),
        other => return Err(names.config_error(format!("pool_type `{other}` can't be run"))),
    };
    if cfg.pool != Pooling::CLASS && !given("final_ln_after_pool").and_then(Value::as_bool).unwrap_or(false) {
        (cfg.final_norm, cfg.fc_norm) = (cfg.fc_norm, false);
    }
    if own.has("proj") || vision.is_some() || names.has("text_projection") {
        cfg.projection = Some(own.expect("proj", 2, FAMILY.name)?[1]);
    }
    let table = own.expect("positional_embedding", 2, FAMILY.name)?[0];
    let configured = given("image_size").and_then(pair).or(names.pair_field("image_size")?);
    let (ph, pw) = cfg.patch_size;
    let (gh, gw) = grid(table.saturating_sub(1), configured.map(|(h, w)| (h / ph, w / pw))).ok_or_else(|| {
        names.error(format!("{table} positions are one more than no square: the configuration must give image_size"))
    })?;
    cfg.img_size = configured.filter(|(h, w)| (h / ph, w / pw) == (gh, gw)).unwrap_or((gh * ph, gw * pw));
    Ok(cfg)
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    if is_trunk(names) {
        if canonical == "projection.weight" {
            return vec![Part::new("visual.head.proj.weight", shape)];
        }
        let own = trunk(names);
        let mut parts = timm::recipe(canonical, shape, cfg, &own);
        parts.iter_mut().for_each(|part| part.tensor = own.whole(&part.tensor));
        return parts;
    }
    let own = own(names);
    let d = cfg.embed_dim;
    let tensor = |name: &str, shape: &[usize]| vec![Part::new(own.whole(name), shape)];
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
        let file = match part {
            "norm1" => "ln_1.",
            "norm2" => "ln_2.",
            "ls1" => "ls_1.",
            "ls2" => "ls_2.",
            // nn.MultiheadAttention joins these two with an underscore.
            "attn.qkv" => "attn.in_proj_",
            "attn.proj" => "attn.out_proj.",
            "mlp.fc1" => "mlp.c_fc.",
            "mlp.fc2" => "mlp.c_proj.",
            other => other,
        };
        return tensor(&format!("transformer.resblocks.{i}.{file}{kind}"), shape);
    }
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    match part {
        "patch_embed.proj" if kind == "weight" => {
            tensor("conv1.weight", &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])
        }
        "patch_embed.proj" => tensor("conv1.bias", shape),
        "prefix_tokens" => tensor("class_embedding", &[d]),
        "pos_embed" => tensor("positional_embedding", shape),
        "norm_pre" => tensor(&format!("ln_pre.{kind}"), shape),
        "norm" | "fc_norm" => tensor(&format!("ln_post.{kind}"), shape),
        // Stored for x·proj.
        "projection" => {
            vec![Part::new(own.whole("proj"), &[shape[1], shape[0]]).permuted(&[shape[1], shape[0]], &[1, 0])]
        }
        _ => tensor(canonical, shape),
    }
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    let given = names.field("preprocess_cfg").unwrap_or(&Value::Null);
    transforms::open_clip(given, cfg.img_size).map_err(|reason| names.config_error(reason))
}
