//! timm `VisionTransformer` and distilled DeiT (`timm/models/vision_transformer.py`, `deit.py`).

use serde_json::Value;

use super::names::{Names, activation, grid, pair, size, standard_heads};
use super::recipe::{Part, Recipe};
use super::{Family, transforms};
use crate::error::{Error, Result};
use crate::model::{Head, VitConfig, arch};
use crate::ops::PoolKind;
use crate::preprocess::Transform;

pub static FAMILY: Family = Family {
    name: "timm",
    detect: |names| names.has("patch_embed.proj.weight"),
    configure,
    recipe,
    // Unused by timm since 0.6: the tanh layer that in-21k models once had.
    ignorable: |name, _| name.starts_with("pre_logits."),
    transform,
};

/// `model_args` that change nothing at inference.
const HARMLESS_ARGS: [&str; 9] = [
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "weight_init",
    "num_classes",
    "strict_img_size",
];

fn configure(names: &Names) -> Result<VitConfig> {
    let args = names.field("model_args").cloned().unwrap_or(Value::Null);
    let arch_name = names.field("architecture").and_then(Value::as_str);
    let known = arch_name.and_then(arch::lookup);

    let &[embed_dim, in_chans, patch_h, patch_w] = names.expect("patch_embed.proj.weight", 4, FAMILY.name)? else {
        return Err(Error::model(&names.file, "patch_embed.proj.weight is not a convolution"));
    };
    let depth = names.count("blocks.");
    let num_heads = match args.get("num_heads").and_then(size).or(known.as_ref().map(|cfg| cfg.num_heads)) {
        Some(heads) => heads,
        None if arch_name.is_some() => {
            let reason = format!(
                "architecture `{}` is not known here, and model_args has no num_heads",
                arch_name.unwrap_or("")
            );
            return Err(names.config_error(reason));
        }
        None => standard_heads(embed_dim).ok_or_else(|| {
            let reason =
                format!("the head count is not in the weights: a config.json must give it (width {embed_dim})");
            Error::model(&names.file, reason)
        })?,
    };
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, num_heads);
    cfg.in_chans = in_chans;
    cfg.patch_size = (patch_h, patch_w);
    cfg.patch_bias = names.has("patch_embed.proj.bias");
    cfg.class_token = names.has("cls_token");
    cfg.dist_token = names.has("dist_token");
    cfg.reg_tokens = names.shape("reg_token").map_or(0, |shape| shape.get(1).copied().unwrap_or(0));
    cfg.mlp_hidden = match names.shape("blocks.0.mlp.fc1.bias") {
        Some(&[hidden]) => hidden,
        _ => cfg.mlp_hidden,
    };
    cfg.qkv_bias = names.has("blocks.0.attn.qkv.bias");
    cfg.layer_scale = names.has("blocks.0.ls1.gamma");
    cfg.pre_norm = names.has("norm_pre.weight");
    cfg.final_norm = names.has("norm.weight");
    cfg.fc_norm = names.has("fc_norm.weight");
    cfg.head = match (names.has("head.weight"), names.has("head_dist.weight")) {
        (false, _) => Head::None,
        (true, false) => Head::Linear,
        (true, true) => Head::Distilled,
    };
    cfg.num_classes = names.shape("head.weight").map_or(0, |shape| shape[0]);
    if let Some(known) = &known {
        (cfg.norm_eps, cfg.act) = (known.norm_eps, known.act);
    }
    let global_pool = args.get("global_pool").and_then(Value::as_str);
    // In pretrained_cfg and at the root it is informational, yet right; the constructor's argument comes first.
    let global_pool = global_pool.or_else(|| names.field("global_pool").and_then(Value::as_str)).unwrap_or("token");
    cfg.pool = arch::global_pool(global_pool, cfg.prefix_tokens())
        .ok_or_else(|| names.config_error(format!("global_pool `{global_pool}` can't be run")))?;
    if cfg.pool == PoolKind::Token(0) && !cfg.class_token {
        return Err(names.config_error("global_pool is `token`, but there is no class token"));
    }
    apply_args(&mut cfg, &args, names)?;
    sizes(&mut cfg, &args, known.as_ref(), names)?;
    Ok(cfg)
}

/// Constructor arguments: those the weights show already, those that set numbers, and none that would go unnoticed.
fn apply_args(cfg: &mut VitConfig, args: &Value, names: &Names) -> Result<()> {
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
            "act_layer" => cfg.act = value.as_str().and_then(activation).ok_or_else(bad)?,
            // Seen in the weights, or handled with the sizes.
            "img_size" | "patch_size" | "mlp_ratio" | "class_token" | "global_pool" | "qkv_bias" | "init_values"
            | "no_embed_class" | "pre_norm" | "fc_norm" | "final_norm" | "dynamic_img_size" => {}
            other if HARMLESS_ARGS.contains(&other) => {}
            _ if matches!(value, Value::Null | Value::Bool(false)) => {}
            _ => return Err(names.config_error(format!("model_args.{name} = {value} can't be run"))),
        }
    }
    Ok(())
}

/// Image size, and how many prefix tokens the position table covers.
fn sizes(cfg: &mut VitConfig, args: &Value, known: Option<&VitConfig>, names: &Names) -> Result<()> {
    let &[1, table, _] = names.expect("pos_embed", 3, FAMILY.name)? else {
        return Err(Error::model(&names.file, "pos_embed is not [1, N, D]"));
    };
    let from_args = args.get("img_size").and_then(pair);
    let pretrained = names.field("pretrained_cfg").or(names.config.as_ref());
    let from_cfg = pretrained.and_then(|cfg| cfg.get("input_size")).and_then(Value::as_array).and_then(|input| {
        let [_, h, w] = &input[..] else { return None };
        Some((size(h)?, size(w)?))
    });
    let configured = from_args.or(from_cfg).or(known.map(|cfg| cfg.img_size));
    let (ph, pw) = cfg.patch_size;
    let configured_grid = configured.map(|(h, w)| (h / ph, w / pw));
    let prefix = cfg.prefix_tokens();
    let patches_after = |covered: usize| {
        table.checked_sub(covered).filter(|&patches| match configured_grid {
            Some((h, w)) => h * w == patches,
            None => grid(patches, None).is_some(),
        })
    };
    // The table covers the prefix or (`no_embed_class`) the patches alone: whichever leaves the configured grid, or a square.
    let found = [prefix, 0].into_iter().find_map(|covered| patches_after(covered).map(|patches| (covered, patches)));
    let (pos_prefix, patches) = found.ok_or_else(|| {
        let wanted = configured_grid.map_or("no square grid".to_owned(), |(h, w)| format!("{h}x{w} patches"));
        let reason =
            format!("pos_embed has {table} rows, the configured image has {wanted} and {prefix} prefix tokens");
        Error::model(&names.file, reason)
    })?;
    let (gh, gw) = grid(patches, configured_grid).unwrap_or((0, 0));
    cfg.pos_prefix = pos_prefix;
    cfg.img_size = configured.unwrap_or((gh * ph, gw * pw));
    Ok(())
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, _: &Names) -> Recipe {
    let d = cfg.embed_dim;
    match canonical {
        "patch_embed.proj.weight" => {
            vec![Part::new(canonical, &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "prefix_tokens" => [
            ("cls_token", usize::from(cfg.class_token)),
            ("dist_token", usize::from(cfg.dist_token)),
            ("reg_token", cfg.reg_tokens),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| Part::new(name, &[1, count, d]))
        .collect(),
        "pos_embed" => vec![Part::new(canonical, &[1, shape[0], d])],
        _ => vec![Part::new(canonical, shape)],
    }
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    // Without a configuration: what most timm ViTs (augreg) were trained with.
    let cfg_json = names.field("pretrained_cfg").or(names.config.as_ref());
    transforms::timm(cfg_json.unwrap_or(&Value::Null), cfg.img_size).map_err(|reason| names.config_error(reason))
}
