//! The visual towers of OpenAI's CLIP and of open_clip (`open_clip/transformer.py`), including timm models wrapped by open_clip.

mod text;
mod trunk;

pub use text::TEXT;

use serde_json::Value;

use super::names::{Names, grid, pair};
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Family, transforms};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};
use crate::preprocess::Transform;

pub static FAMILY: Family = Family {
    name: "open_clip",
    detect: |names| is_trunk(names) || own(names).has("conv1.weight") && own(names).has("class_embedding"),
    configure,
    recipe,
    // open_clip's resize_pos_embed, which runs when the table in a file does not have the configured size.
    positions: |names| {
        let image_size =
            vision_cfg(names).filter(|_| !is_trunk(names)).and_then(|vision| pair(vision.get("image_size")?));
        Positions { image_size, ..Positions::square_unless_same_count(Resample::BicubicAntialias) }
    },
    ignorable: |name, cfg| {
        // A trunk without its own pooling has no tensors for it. A distilled trunk has a register token and a norm that it never reads.
        if cfg.dist_token && (name == "visual.trunk.reg_token" || name.starts_with("visual.trunk.fc_norm.")) {
            return true;
        }
        // The text tower: newer models put it under `text.`, CLIP's own files have no prefix.
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
    own_keys: None,
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

fn configure(names: &Names) -> Result<VitConfig> {
    check(names)?;
    if is_trunk(names) {
        return trunk::configure(names);
    }
    let own = own(names);
    let conv = own.expect("conv1.weight", 4, FAMILY.name)?;
    let embed_dim = conv[0];
    let vision = vision_cfg(names);
    let config = names.configured(vision.cloned());
    config.agree("width", &own, "conv1.weight", 0)?;
    config.agree_pair("patch_size", &own, "conv1.weight", [2, 3])?;
    names.configured(names.field("model_cfg").cloned()).agree("embed_dim", &own, "proj", 1)?;
    let num_heads = match (names.size_field("num_heads")?, config.size_field("head_width")?) {
        (Some(heads), _) => heads,
        (None, Some(width)) => embed_dim / width.max(1),
        // open_clip's default head width, which OpenAI's models have too.
        (None, None) => (embed_dim / 64).max(1),
    };
    names.even_heads(embed_dim, num_heads)?;
    let depth = config.depth("layers", &own, "transformer.resblocks.")?;
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, num_heads);
    (cfg.in_chans, cfg.patch_size) = (conv[1], (conv[2], conv[3]));
    cfg.patch_bias = own.has("conv1.bias");
    cfg.norm_eps = norm_eps(&config, "vision_cfg")?;
    cfg.act = activation(names, &config)?;
    cfg.pre_norm = own.has("ln_pre.weight");
    cfg.layer_scale = own.has("transformer.resblocks.0.ls_1.gamma");
    let fc = "transformer.resblocks.0.mlp.c_fc.weight";
    cfg.mlp_hidden = own.expect(fc, 2, FAMILY.name)?[0];
    if let Some(ratio) = config.number_field("mlp_ratio")? {
        config.agree_on("mlp_ratio", (embed_dim as f64 * ratio) as usize, &own, fc, 0)?;
    }
    (cfg.head, cfg.num_classes) = (Head::None, 0);
    (cfg.final_norm, cfg.fc_norm) = (false, own.has("ln_post.weight"));
    cfg.pool = match config.text_field("pool_type").unwrap_or("tok") {
        "tok" => Pooling::CLASS,
        "avg" => Pooling::Tokens(PoolKind::Mean(1)),
        other => return Err(names.config_error(format!("pool_type `{other}` can't be run"))),
    };
    if cfg.pool != Pooling::CLASS && !config.bool_field("final_ln_after_pool")?.unwrap_or(false) {
        (cfg.final_norm, cfg.fc_norm) = (cfg.fc_norm, false);
    }
    if own.has("proj") || vision.is_some() || names.has("text_projection") {
        cfg.projection = Some(own.expect("proj", 2, FAMILY.name)?[1]);
    }
    let table = own.expect("positional_embedding", 2, FAMILY.name)?[0];
    let configured = config.pair_field("image_size")?.or(names.pair_field("image_size")?);
    let (ph, pw) = cfg.patch_size;
    let (gh, gw) = grid(table.saturating_sub(1), configured.map(|(h, w)| (h / ph, w / pw))).ok_or_else(|| {
        names.error(format!("the position table has {table} rows, which is not one more than a square number: the configuration must give image_size"))
    })?;
    cfg.img_size = configured.filter(|(h, w)| (h / ph, w / pw) == (gh, gw)).unwrap_or((gh * ph, gw * pw));
    Ok(cfg)
}

/// Keys of `vision_cfg` that are read here or are only used in training.
const VISION_KEYS: [&str; 23] = [
    // This key chooses the class of the blocks. The options of that class are in `OFF_KEYS`.
    "block_type",
    "timm_model_kwargs",
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "ls_init_value",
    "patch_dropout",
    "no_ln_pre",
    "pos_embed_type",
    "final_ln_after_pool",
    "pool_type",
    "output_tokens",
    "act_kwargs",
    "norm_kwargs",
    "timm_model_name",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "timm_drop",
];

/// Keys of options that are not supported. They are allowed if they are `false`.
const OFF_KEYS: [&str; 7] =
    ["attentional_pool", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"];

/// Keys of `model_cfg`.
const MODEL_KEYS: [&str; 12] = [
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "multimodal_cfg",
    "init_logit_scale",
    "init_logit_bias",
    "nonscalar_logit_scale",
    "cast_dtype",
    "output_dict",
    "hf_hub_id",
];

/// Keys of a `config.json` of one's own, for files that have no open_clip_config.json.
const OWN_KEYS: [&str; 9] =
    ["model_type", "family", "num_heads", "image_size", "act", "eps", "architectures", "preprocess_cfg", "label_names"];

/// Checks that the configuration has its required parts and no unknown keys.
fn check(names: &Names) -> Result<()> {
    let Some(config) = &names.config else {
        return match names.file.ends_with("open_clip_model.safetensors") {
            true => {
                Err(names
                    .error("open_clip_config.json is missing, and only that file says which activation the model has"))
            }
            false => Ok(()),
        };
    };
    let Some(model) = config.get("model_cfg") else {
        if names.file.ends_with("open_clip_model.safetensors") {
            return Err(names.config_error("`model_cfg` is missing"));
        }
        return names.only_known(&[&OWN_KEYS]);
    };
    names.only_known_in("model_cfg", model, &[&MODEL_KEYS])?;
    names.configured(Some(model.clone())).bool_field("quick_gelu")?;
    let Some(vision) = model.get("vision_cfg").filter(|vision| vision.is_object()) else {
        return Err(names.config_error("`model_cfg.vision_cfg` is missing"));
    };
    let mut vision = vision.clone();
    if let Some(vision) = vision.as_object_mut() {
        vision.retain(|key, value| !(OFF_KEYS.contains(&key.as_str()) && value == &Value::Bool(false)));
        // Keys of attentional pooling (which is off here) and of training.
        ["attn_pooler_queries", "attn_pooler_heads", "timm_drop_path"].iter().for_each(|key| drop(vision.remove(*key)));
    }
    names.only_known_in("model_cfg.vision_cfg", &vision, &[&VISION_KEYS])?;
    match names.field("preprocess_cfg") {
        Some(pixels) if pixels.get("mode").is_some_and(|mode| mode != "RGB") => {
            Err(names.config_error(format!("`preprocess_cfg.mode` is {}: only RGB is supported", pixels["mode"])))
        }
        Some(pixels) => names.only_known_in("preprocess_cfg", pixels, &[&PIXEL_KEYS]),
        None => Ok(()),
    }
}

/// Keys of `preprocess_cfg`.
const PIXEL_KEYS: [&str; 7] = ["size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"];

/// `norm_kwargs.eps`, or the default of `nn.LayerNorm`.
fn norm_eps(tower: &Names, what: &str) -> Result<f32> {
    let Some(kwargs) = tower.field("norm_kwargs") else { return Ok(1e-5) };
    tower.only_known_in(&format!("{what}.norm_kwargs"), kwargs, &[&["eps"]])?;
    Ok(tower.configured(Some(kwargs.clone())).number_field("eps")?.map_or(1e-5, |eps| eps as f32))
}

/// The activation, from `quick_gelu` and `act_kwargs`. Files without a configuration are OpenAI's, which have quick GELU.
fn activation(names: &Names, tower: &Names) -> Result<Activation> {
    let quick = names.field("model_cfg").map(|cfg| cfg.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false));
    let mut act = if quick.unwrap_or(true) { Activation::QuickGelu } else { Activation::Gelu };
    if let Some(kwargs) = tower.field("act_kwargs") {
        let approximate = match kwargs.as_object() {
            Some(map) if map.is_empty() => None,
            Some(map) if map.len() == 1 => map.get("approximate").and_then(Value::as_str),
            _ => Some(""),
        };
        act = match (approximate, act) {
            (None, act) => act,
            (Some("none"), Activation::Gelu) => Activation::Gelu,
            (Some("tanh"), Activation::Gelu) => Activation::GeluTanh,
            _ => return Err(names.config_error(format!("`act_kwargs` is {kwargs}, which can't be run"))),
        };
    }
    Ok(names.act_field("act")?.unwrap_or(act))
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    if is_trunk(names) {
        return trunk::recipe(canonical, shape, cfg, names);
    }
    let own = own(names);
    let d = cfg.embed_dim;
    let tensor = |name: &str, shape: &[usize]| vec![Part::new(own.whole(name), shape)];
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        return tensor(&in_block(i, part), shape);
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
        // The file has the transposed matrix, because open_clip computes x·proj.
        "projection" => {
            vec![Part::new(own.whole("proj"), &[shape[1], shape[0]]).permuted(&[shape[1], shape[0]], &[1, 0])]
        }
        _ => tensor(canonical, shape),
    }
}

/// The file's name for a part of block `i` of either tower, such as `mlp.fc1.weight`.
fn in_block(i: &str, part: &str) -> String {
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
    format!("transformer.resblocks.{i}.{file}{kind}")
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    let given = names.field("preprocess_cfg").unwrap_or(&Value::Null);
    transforms::open_clip(given, cfg.img_size).map_err(|reason| names.config_error(reason))
}
