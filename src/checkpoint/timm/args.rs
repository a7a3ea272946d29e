//! timm's constructor arguments and pooling.

use serde_json::Value;

use super::{FAMILY, Given};
use crate::checkpoint::names::{Names, size};
use crate::error::Result;
use crate::model::{Pooling, VitConfig, arch};
use crate::ops::Activation;

/// `model_args` that change nothing at inference, or that the weights show.
const HARMLESS_ARGS: [&str; 28] = [
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "weight_init",
    "fix_init",
    "num_classes",
    "strict_img_size",
    "dynamic_img_size",
    "img_size",
    "patch_size",
    "mlp_ratio",
    "mlp_layer",
    "class_token",
    "global_pool",
    "pool_include_prefix",
    "init_values",
    "no_embed_class",
    "pos_embed",
    "pre_norm",
    "fc_norm",
    "final_norm",
    "block_fn",
    "qkv_bias",
    "qk_norm",
    "proj_bias",
];

pub fn pool(cfg: &VitConfig, names: &Names, given: &Given) -> Result<Pooling> {
    let known = given.known.as_ref().map(|cfg| (cfg.pool, cfg.prefix_tokens()));
    let whole = match known {
        Some((Pooling::Tokens(kind), prefix)) => kind.first() == 0 && prefix > 0,
        Some((Pooling::Attention(from), prefix)) => from == 0 && prefix > 0,
        _ => false,
    };
    let from = if given.flag("pool_include_prefix").unwrap_or(whole) { 0 } else { cfg.prefix_tokens() };
    let default = match (names.has("attn_pool.latent"), cfg.fc_norm, cfg.class_token) {
        (true, ..) => "map",
        (_, true, _) => "avg",
        (.., true) => "token",
        (.., false) => "avg",
    };
    let arg = given.args.get("global_pool").and_then(Value::as_str);
    let pool = match (arg, known) {
        // In pretrained_cfg and at the root it is informational, yet right where nothing else tells.
        (Some(name), _) => arch::global_pool(name, from),
        (None, Some((Pooling::Attention(_), _))) => Some(Pooling::Attention(from)),
        (None, Some((Pooling::Tokens(kind), _))) => Some(Pooling::Tokens(kind.starting_at(from))),
        (None, _) => {
            arch::global_pool(names.text_field("global_pool").filter(|name| !name.is_empty()).unwrap_or(default), from)
        }
    };
    let pool = pool.ok_or_else(|| {
        let name = arg.or(names.text_field("global_pool")).unwrap_or_default();
        names.config_error(format!("global_pool `{name}` can't be run"))
    })?;
    if pool == Pooling::CLASS && !cfg.class_token {
        return Err(names.missing("cls_token", FAMILY.name));
    }
    Ok(pool)
}

/// Constructor arguments: those that set numbers, and none that contradicts the weights or would go unnoticed.
pub fn apply(cfg: &mut VitConfig, args: &Value, names: &Names) -> Result<()> {
    let Some(args) = args.as_object() else { return Ok(()) };
    for (name, value) in args {
        let bad = || names.config_error(format!("model_args.{name} is {value}"));
        let same = |found: usize| if size(value) == Some(found) { Ok(()) } else { Err(bad()) };
        match name.as_str() {
            "embed_dim" => same(cfg.embed_dim)?,
            "depth" => same(cfg.depth)?,
            "num_heads" => same(cfg.num_heads)?,
            "in_chans" => same(cfg.in_chans)?,
            "reg_tokens" => same(cfg.reg_tokens)?,
            "act_layer" => cfg.act = value.as_str().and_then(Activation::named).ok_or_else(bad)?,
            "norm_layer" => flag_norm(value, cfg.rms_norm).ok_or_else(bad)?,
            other if HARMLESS_ARGS.contains(&other) => {}
            _ if matches!(value, Value::Null | Value::Bool(false)) => {}
            _ => return Err(names.config_error(format!("model_args.{name} = {value} can't be run"))),
        }
    }
    Ok(())
}

/// Whether a norm's name is of the kind the weights are for.
fn flag_norm(value: &Value, rms: bool) -> Option<()> {
    let named = match value.as_str()? {
        "layernorm" | "LayerNorm" => false,
        "rmsnorm" | "RmsNorm" => true,
        _ => return None,
    };
    (named == rms).then_some(())
}
