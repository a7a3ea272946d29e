//! timm `VisionTransformer` and distilled DeiT (`timm/models/vision_transformer.py`, `deit.py`).

mod given;
mod recipe;
mod seen;
mod sizes;

use serde_json::Value;

use super::names::Names;
use super::positions::{Positions, Resample};
use super::{Family, keys, transforms};
use crate::error::Result;
use crate::model::constructor::GlobalPool;
use crate::model::{Head, VitConfig};
use crate::preprocess::Transform;
use given::Given;

pub use recipe::recipe;

pub static FAMILY: Family = Family {
    name: "timm",
    detect: |names| names.has("patch_embed.proj.weight"),
    configure,
    recipe: |canonical, shape, cfg, names| recipe(canonical, shape, cfg, names),
    positions,
    ignorable: |name, cfg| {
        // The tanh layer of old in-21k models, which timm does not use since 0.6.
        name.starts_with("pre_logits.")
            // A distilled model has these two tensors but never reads them.
            || cfg.dist_token && (name.starts_with("fc_norm.") || name == "reg_token")
    },
    own_keys: None,
    transform,
};

/// timm resamples a position table of another size when it loads it.
fn positions(names: &Names) -> Positions {
    let name = names.text_field("architecture").unwrap_or_default();
    let is = |part: &str| name.contains(part);
    let rule = match name {
        _ if is("base_patch16_radio_v3") || is("huge_patch16_radio_v3") => Resample::Zoom,
        _ if is("radio") || name.starts_with("flexivit") => Resample::Bilinear,
        _ => Resample::BicubicAntialias,
    };
    let given = Given::new(names).ok();
    let dynamic = given.as_ref().is_some_and(|given| given.arguments.dynamic_img_size);
    let running = Some(Resample::BicubicAntialias);
    let whole = given.is_some_and(|given| given.pads);
    Positions { image_size: sizes::configured_size(names), dynamic, running, whole, ..Positions::on_request(rule) }
}

pub fn configure(names: &Names) -> Result<VitConfig> {
    known_keys(names)?;
    let given = Given::new(names)?;
    agree(names, &given)?;
    if given.arguments.global_pool.is_none_or(|pool| pool == GlobalPool::Token) && !names.has("cls_token") {
        return Err(names.missing("cls_token", FAMILY.name));
    }
    let mut cfg = given.arguments.resolve().map_err(|reason| names.config_error(reason))?;
    if given.arguments.qk_norm {
        // The only weight whose shape shows the width of a head.
        let width = names.expect(&recipe::first("attn.q_norm.weight", cfg.block, names), 1, FAMILY.name)?[0];
        if width != cfg.head_dim {
            let reason = format!(
                "q_norm is for heads {width} wide, which does not fit {} heads in a width of {}",
                cfg.num_heads, cfg.embed_dim
            );
            return Err(names.error(format!("{reason} {} wide", cfg.head_dim)));
        }
    }
    // transformers' wrapper always makes the bare model without classes, even if the configuration lists classes.
    let bare = names.class() == "TimmWrapperModel";
    if names.axis("head.weight", 0) == 0 && (bare || given.source("num_classes").is_none()) {
        (cfg.head, cfg.num_classes) = (Head::None, 0);
    }
    sizes::positions(&mut cfg, names, &given)?;
    Ok(cfg)
}

/// Keys at the root of timm's configurations.
const KEYS: [&str; 9] = [
    "architecture",
    "num_classes",
    "num_features",
    "global_pool",
    "model_args",
    "pretrained_cfg",
    "label_names",
    "label_descriptions",
    "labels",
];

/// Keys of timm's `PretrainedCfg`; in old files they are at the root.
const PRETRAINED_KEYS: [&str; 35] = [
    "url",
    "file",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "architecture",
    "tag",
    "custom_load",
    "input_size",
    "test_input_size",
    "min_input_size",
    "fixed_input_size",
    "interpolation",
    "crop_pct",
    "test_crop_pct",
    "crop_mode",
    "mean",
    "std",
    "num_classes",
    "label_names",
    "label_descriptions",
    "pool_size",
    "test_pool_size",
    "first_conv",
    "classifier",
    "license",
    "description",
    "origin_url",
    "paper_name",
    "paper_ids",
    "notes",
    "global_pool",
    "num_features",
    "labels",
    "in_chans",
];

/// Checks that every key is one that timm, transformers' wrapper of timm, or this crate reads, or that changes nothing.
fn known_keys(names: &Names) -> Result<()> {
    let wrapper = names.text_field("model_type") == Some("timm_wrapper");
    let wrapped: &[&str] = if wrapper { &keys::TRANSFORMERS } else { &[] };
    let legacy: &[&str] = if names.field("pretrained_cfg").is_none() { &PRETRAINED_KEYS } else { &[] };
    names.only_known(&[&KEYS, &keys::OWN, wrapped, legacy, &["do_pooling", "timm_model_name"]])?;
    match names.field("pretrained_cfg") {
        Some(pretrained) => names.only_known_in("pretrained_cfg", pretrained, &[&PRETRAINED_KEYS]),
        None => Ok(()),
    }
}

/// Compares the arguments with the tensors.
fn agree(names: &Names, given: &Given) -> Result<()> {
    let made = &given.arguments;
    let conv = "patch_embed.proj.weight";
    let matrix = names.shape(conv).is_some_and(|shape| shape.len() == 2);
    let stated = [
        ("embed_dim", made.embed_dim, conv, 0),
        ("in_chans", made.in_chans, conv, 1),
        ("patch_size", made.patch_size.0, conv, 2),
        ("patch_size", made.patch_size.1, conv, 3),
        ("reg_tokens", made.reg_tokens, "reg_token", 1),
        ("num_classes", made.num_classes, "head.weight", 0),
    ];
    for (name, value, tensor, axis) in stated {
        if let Some(key) = given.source(name).filter(|_| !(matrix && tensor == conv && axis > 0)) {
            names.agree_on(&key, value, names, tensor, axis)?;
        }
    }
    if let Some(key) = given.source("depth") {
        names.depth_of(&key, made.depth, names, "blocks.")?;
    }
    Ok(())
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    // Without a configuration: what most timm ViTs (augreg) were trained with.
    let cfg_json = names.field("pretrained_cfg").or(names.config.as_ref());
    transforms::timm(cfg_json.unwrap_or(&Value::Null), cfg.img_size).map_err(|reason| names.config_error(reason))
}
