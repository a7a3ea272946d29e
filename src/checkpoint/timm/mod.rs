//! timm `VisionTransformer` and distilled DeiT (`timm/models/vision_transformer.py`, `deit.py`).

mod args;
mod recipe;
mod sizes;

use serde_json::Value;

use super::names::{Names, pair, size, standard_heads};
use super::positions::{Positions, Resample};
use super::{Family, transforms};
use crate::error::Result;
use crate::model::{Block, Head, Mlp, VitConfig, arch};
use crate::ops::Activation;
use crate::preprocess::Transform;

pub use recipe::recipe;

pub static FAMILY: Family = Family {
    name: "timm",
    detect: |names| names.has("patch_embed.proj.weight"),
    configure,
    recipe: |canonical, shape, cfg, names| recipe(canonical, shape, cfg, names),
    // timm loads a table of another size by resampling it.
    positions: |names| {
        let flexible = names.text_field("architecture").is_some_and(|name| name.starts_with("flexivit"));
        let rule = if flexible { Resample::Bilinear } else { Resample::BicubicAntialias };
        Positions { image_size: sizes::configured_size(names), ..Positions::on_request(rule) }
    },
    // Unused by timm since 0.6: the tanh layer that in-21k models once had.
    ignorable: |name, _| name.starts_with("pre_logits."),
    transform,
};

/// What the configuration says: constructor arguments, and the architecture by name where it is known.
struct Given {
    args: Value,
    known: Option<VitConfig>,
}

impl Given {
    fn new(names: &Names) -> Given {
        let known = names.text_field("architecture").or(names.text_field("timm_model_name")).and_then(arch::lookup);
        Given { args: names.field("model_args").cloned().unwrap_or(Value::Null), known }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.args.get(name).and_then(Value::as_bool)
    }
}

pub fn configure(names: &Names) -> Result<VitConfig> {
    let given = Given::new(names);
    let known = given.known.as_ref();
    let (embed_dim, in_chans, patch_size) = patch(names, &given)?;
    let depth = names.count("blocks.");
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, heads(names, &given, embed_dim)?);
    (cfg.in_chans, cfg.patch_size) = (in_chans, patch_size);
    cfg.embed_norm = known.map_or(names.has("patch_embed.norm.weight"), |known| known.embed_norm);
    cfg.class_token = names.has("cls_token");
    cfg.dist_token = names.has("dist_token") || names.has("head_dist.weight");
    cfg.reg_tokens = names.axis("reg_token", 1).max(names.axis("register_tokens", 1));
    cfg.block = block_fn(names, &given)?;
    let flag = |name: &str, endings: &[&str]| {
        given.flag(name).unwrap_or_else(|| endings.iter().any(|ending| names.any(ending)))
    };
    cfg.qkv_bias = flag("qkv_bias", &["attn.qkv.bias", ".in_proj.bias"]);
    cfg.qk_norm = flag("qk_norm", &[".q_norm.weight", ".k_norm.weight"]);
    cfg.proj_bias = flag("proj_bias", &[".attn.proj.bias", ".attn_out_proj.bias"]);
    cfg.mlp_bias = flag("proj_bias", &[".mlp.fc2.bias", ".mlp.w3.bias", ".mlp_out_proj.bias"]);
    cfg.rms_norm = ![".norm1.bias", ".in_norm.bias", ".norm.bias", "fc_norm.bias"].iter().any(|norm| names.any(norm));
    cfg.layer_scale = [".gamma", ".gamma_1", ".gamma_2"].iter().any(|gamma| names.any(gamma));
    let first = |part: &str| recipe::first(part, cfg.block, names);
    cfg.mlp_hidden = names.expect(&first("mlp.fc2.weight"), 2, FAMILY.name)?[1];
    let packed = names.axis(&first("mlp.fc1.weight"), 0) == 2 * cfg.mlp_hidden && cfg.block != Block::ParallelScaling;
    if packed || recipe::gate_apart(names) || names.any(".mlp.w12.weight") {
        (cfg.mlp, cfg.act) = (Mlp::Glu, Activation::Silu);
    }
    cfg.pre_norm = known.is_some_and(|known| known.pre_norm) || names.has("norm_pre.weight");
    // Left out where a norm follows, which has one.
    cfg.patch_bias = !cfg.pre_norm;
    cfg.final_norm = names.has("norm.weight") || names.has("norm.bias");
    cfg.fc_norm = names.has("fc_norm.weight") || names.has("fc_norm.bias");
    let bare =
        given.flag("final_norm") == Some(false) || known.is_some_and(|known| !known.final_norm && !known.fc_norm);
    if !cfg.final_norm && !cfg.fc_norm && !bare {
        return Err(names.missing("norm.weight", FAMILY.name));
    }
    cfg.head = match (names.has("head.weight"), names.has("head_dist.weight")) {
        (false, _) => Head::None,
        (true, false) => Head::Linear,
        (true, true) => Head::Distilled,
    };
    cfg.num_classes = names.axis("head.weight", 0);
    if let Some(known) = known {
        (cfg.norm_eps, cfg.act) = (known.norm_eps, known.act);
    }
    if let Some(eps) = names.number_field("eps")? {
        cfg.norm_eps = eps as f32;
    }
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    if cfg.qk_norm {
        cfg.head_dim = names.expect(&first("attn.q_norm.weight"), 1, FAMILY.name)?[0];
        if cfg.head_dim * cfg.num_heads != embed_dim {
            let reason = format!("q_norm is for heads of {}, {} heads of {embed_dim} are", cfg.head_dim, cfg.num_heads);
            return Err(names.error(format!("{reason} {} wide", embed_dim / cfg.num_heads.max(1))));
        }
    } else {
        names.even_heads(embed_dim, cfg.num_heads)?;
    }
    let registers = known.is_some_and(|known| known.reg_tokens > 0) && given.args.get("reg_tokens").is_none();
    if registers && cfg.reg_tokens == 0 {
        return Err(names.missing("reg_token", FAMILY.name));
    }
    args::apply(&mut cfg, &given.args, names)?;
    cfg.pool = args::pool(&cfg, names, &given)?;
    sizes::positions(&mut cfg, names, &given)?;
    Ok(cfg)
}

/// D, C and the patch's size; ancient files keep the projection as a matrix.
fn patch(names: &Names, given: &Given) -> Result<(usize, usize, (usize, usize))> {
    if let Some(&[embed_dim, len]) = names.shape("patch_embed.proj.weight") {
        let configured = given.args.get("patch_size").and_then(pair).or(given.known.as_ref().map(|cfg| cfg.patch_size));
        let chans = given.args.get("in_chans").and_then(size).unwrap_or(3);
        let square = || Some((len / chans).isqrt()).map(|side| (side, side));
        return match configured.or_else(square).filter(|(h, w)| chans * h * w == len) {
            Some(patch_size) => Ok((embed_dim, chans, patch_size)),
            None => Err(names.error(format!("patches of {len} values are no square of {chans} channels"))),
        };
    }
    let shape = names.expect("patch_embed.proj.weight", 4, FAMILY.name)?;
    Ok((shape[0], shape[1], (shape[2], shape[3])))
}

fn heads(names: &Names, given: &Given, embed_dim: usize) -> Result<usize> {
    let given_heads = given.args.get("num_heads").and_then(size).or(names.size_field("num_heads")?);
    if let Some(heads) = given_heads.or(given.known.as_ref().map(|cfg| cfg.num_heads)) {
        return Ok(heads);
    }
    match names.text_field("architecture") {
        Some(name) => {
            let reason = format!("architecture `{name}` is not known here, and model_args has no num_heads");
            Err(names.config_error(reason))
        }
        None => standard_heads(embed_dim).ok_or_else(|| names.no_heads(embed_dim)),
    }
}

fn block_fn(names: &Names, given: &Given) -> Result<Block> {
    if names.any(".in_proj.weight") {
        return Ok(Block::ParallelScaling);
    }
    if names.count("blocks.0.attns.") > 0 {
        return Ok(Block::ParallelThings(names.count("blocks.0.attns.")));
    }
    // The same tensors in another order: only the configuration tells.
    match given.args.get("block_fn") {
        Some(name) => {
            let known = name.as_str().and_then(arch::block_fn);
            known.ok_or_else(|| names.config_error(format!("model_args.block_fn is {name}")))
        }
        None => Ok(given.known.as_ref().map_or(Block::PreNorm, |cfg| cfg.block)),
    }
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    // Without a configuration: what most timm ViTs (augreg) were trained with.
    let cfg_json = names.field("pretrained_cfg").or(names.config.as_ref());
    transforms::timm(cfg_json.unwrap_or(&Value::Null), cfg.img_size).map_err(|reason| names.config_error(reason))
}
