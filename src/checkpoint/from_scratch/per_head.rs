//! A ViT with a linear layer per head: raw pixels as tokens, norms over the whole batch, an MLP of one layer.

use super::{img_size, patch_size, plain, transform};
use crate::checkpoint::Family;
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::{Batch, Head, Mlp, NormAxes, Pooling, VitConfig};

pub static FAMILY: Family = Family {
    name: "per_head",
    detect: |names| names.has("cls_embedding.weight") && names.count("layer_list.") > 0,
    configure,
    recipe,
    positions: |_| Positions::on_request(Resample::BicubicAntialias),
    // The class has this layer but never calls it.
    ignorable: |name, _| name.starts_with("image_embedding."),
    own_keys: Some(&[]),
    transform,
};

const ATTENTION: &str = "layer_list.0.attention_layer";

fn configure(names: &Names) -> Result<VitConfig> {
    let embed_dim = names.expect("cls_embedding.weight", 2, FAMILY.name)?[1];
    // Each head has its own layer, so the tensors show the number of heads.
    let num_heads = names.count(&format!("{ATTENTION}.query_layers."));
    if num_heads == 0 {
        return Err(names.missing(&format!("{ATTENTION}.query_layers.0.weight"), FAMILY.name));
    }
    let mut cfg = plain(names, embed_dim, names.count("layer_list."), num_heads)?;
    cfg.head_dim = names.expect(&format!("{ATTENTION}.query_layers.0.weight"), 2, FAMILY.name)?[0];
    cfg.attn_scale = (cfg.head_dim as f32).powf(-0.5);
    patch_size(names, &mut cfg, embed_dim)?;
    (cfg.patch_proj, cfg.patch_bias) = (false, false);
    cfg.attn_proj = false;
    cfg.qkv_bias = names.any("query_layers.0.bias");
    cfg.norm_axes = NormAxes::Joint;
    cfg.batch = Batch::Fixed(names.expect("layer_list.0.layer_norm1.weight", 3, FAMILY.name)?[0]);
    (cfg.mlp, cfg.mlp_hidden) = (Mlp::Single, embed_dim);
    cfg.pool = Pooling::CLASS;
    (cfg.final_norm, cfg.fc_norm) = (false, true);
    cfg.head = Head::Linear;
    cfg.num_classes = names.expect("fc.weight", 2, FAMILY.name)?[0];
    let table = names.expect("positional_embedding.weight", 2, FAMILY.name)?[0];
    img_size(names, &mut cfg, table.saturating_sub(1))?;
    Ok(cfg)
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    if let Some((i, part)) = part.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let at = |name: &str| format!("layer_list.{i}.{name}.{kind}");
        return match part {
            "norm1" => vec![Part::new(at("layer_norm1"), shape)],
            "norm2" => vec![Part::new(at("layer_norm2"), shape)],
            "attn.qkv" => {
                let mut head = shape.to_vec();
                head[0] = cfg.head_dim;
                let each = |which: &'static str| {
                    (0..cfg.num_heads).map(move |h| format!("attention_layer.{which}_layers.{h}"))
                };
                ["query", "key", "value"].into_iter().flat_map(each).map(|name| Part::new(at(&name), &head)).collect()
            }
            "mlp.fc1" => {
                let alone = names.any(".mlp.weight");
                vec![Part::new(at(if alone { "mlp" } else { "mlp.0" }), shape)]
            }
            _ => vec![Part::new(canonical, shape)],
        };
    }
    match part {
        "prefix_tokens" => vec![Part::new("cls_embedding.weight", shape)],
        "pos_embed" => vec![Part::new("positional_embedding.weight", shape)],
        "fc_norm" => vec![Part::new(format!("layer_norm.{kind}"), shape)],
        "head" => vec![Part::new(format!("fc.{kind}"), shape)],
        _ => vec![Part::new(canonical, shape)],
    }
}
