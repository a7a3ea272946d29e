//! torchvision `VisionTransformer` (`torchvision/models/vision_transformer.py`), with the MLP names of either version.

use super::names::{Names, grid};
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Family, from_scratch, transforms};
use crate::error::{Error, Result};
use crate::model::{Head, Pooling, VitConfig};
use crate::preprocess::Transform;

pub static FAMILY: Family = Family {
    name: "torchvision",
    detect: |names| names.has("conv_proj.weight") && names.has("encoder.pos_embedding"),
    configure,
    recipe,
    positions: |_| Positions::on_request(Resample::BicubicAlignCorners),
    ignorable: |_, _| false,
    own_keys: Some(&["global_pool"]),
    transform,
};

fn configure(names: &Names) -> Result<VitConfig> {
    let &[embed_dim, in_chans, patch_h, patch_w] = names.expect("conv_proj.weight", 4, FAMILY.name)? else {
        return Err(Error::model(&names.file, "conv_proj.weight is not a convolution"));
    };
    let depth = names.count("encoder.layers.encoder_layer_");
    // torchvision writes no configuration. A config.json beside the weights may give what can't be seen in them.
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, names.heads(embed_dim)?);
    cfg.norm_eps = names.number_field("eps")?.map_or(cfg.norm_eps, |eps| eps as f32);
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    cfg.pool = from_scratch::pooling(names, Pooling::CLASS, 1)?;
    names.even_heads(embed_dim, cfg.num_heads)?;
    cfg.in_chans = in_chans;
    cfg.patch_size = (patch_h, patch_w);
    cfg.qkv_bias = names.has("encoder.layers.encoder_layer_0.self_attention.in_proj_bias");
    cfg.mlp_hidden = names.expect(&layer_name(names, 0, "mlp.fc1.weight"), 2, FAMILY.name)?[0];
    cfg.pre_logits = names.shape("heads.pre_logits.weight").and_then(|shape| shape.first().copied());
    cfg.num_classes = names.axis("heads.head.weight", 0);
    if cfg.num_classes == 0 {
        cfg.head = Head::None;
    }
    let table = names.expect("encoder.pos_embedding", 3, FAMILY.name)?[1];
    let configured = names.pair_field("image_size")?.or(names.pair_field("img_size")?);
    let configured_grid = configured.map(|(h, w)| (h / patch_h, w / patch_w));
    let (gh, gw) = grid(table.saturating_sub(1), configured_grid).ok_or_else(|| {
        Error::model(
            &names.file,
            format!("the position table has {table} rows, which is not one more than a square number: config.json must give image_size"),
        )
    })?;
    cfg.img_size = configured.unwrap_or((gh * patch_h, gw * patch_w));
    Ok(cfg)
}

/// The file's name for a part of block `i`.
fn layer_name(names: &Names, i: usize, part: &str) -> String {
    let prefix = format!("encoder.layers.encoder_layer_{i}.");
    let old = names.has(&format!("{prefix}mlp.linear_1.weight"));
    let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
    let own = match (part, old) {
        ("norm1", _) => "ln_1",
        ("norm2", _) => "ln_2",
        // nn.MultiheadAttention joins these two with an underscore.
        ("attn.qkv", _) => return format!("{prefix}self_attention.in_proj_{kind}"),
        ("attn.proj", _) => "self_attention.out_proj",
        ("mlp.fc1", false) => "mlp.0",
        ("mlp.fc2", false) => "mlp.3",
        ("mlp.fc1", true) => "mlp.linear_1",
        ("mlp.fc2", true) => "mlp.linear_2",
        (other, _) => other,
    };
    format!("{prefix}{own}.{kind}")
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        return vec![Part::new(layer_name(names, i.parse().unwrap_or(0), part), shape)];
    }
    let d = cfg.embed_dim;
    match canonical {
        "patch_embed.proj.weight" => {
            vec![Part::new("conv_proj.weight", &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "patch_embed.proj.bias" => vec![Part::new("conv_proj.bias", shape)],
        "prefix_tokens" => vec![Part::new("class_token", &[1, 1, d])],
        "pos_embed" => vec![Part::new("encoder.pos_embedding", &[1, shape[0], d])],
        _ => {
            let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
            let own = match part {
                "norm" => "encoder.ln",
                "pre_logits.fc" => "heads.pre_logits",
                "head" => "heads.head",
                other => other,
            };
            vec![Part::new(format!("{own}.{kind}"), shape)]
        }
    }
}

/// The presets of the published weights. At 224 pixels: resize to 256 (242 for L/16), crop to 224, bilinear. Larger (SWAG): no crop, bicubic.
fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    if let Some(own) = transforms::own(names, cfg) {
        return own;
    }
    Ok(transforms::torchvision(cfg.img_size, (cfg.embed_dim, cfg.patch_size.0) == (1024, 16)))
}
