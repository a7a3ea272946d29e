//! A ViT with a `PatchEmbedder` and `Uqkv`: channels-last patches, scores divided by the root of the model's width, no output projection,
//! two linear layers in the head.

use super::{channels_last, img_size, patch_size, plain, pooling, required, transform};
use crate::checkpoint::Family;
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::Activation;

pub static FAMILY: Family = Family {
    name: "patchlayer",
    detect: |names| names.any("patch_embedder.projection_layer.0.weight"),
    configure,
    recipe,
    positions: |_| Positions::on_request(Resample::BicubicAntialias),
    ignorable: |_, _| false,
    own_keys: Some(&["global_pool"]),
    transform,
};

fn configure(names: &Names) -> Result<VitConfig> {
    let &[embed_dim, len] = names.expect("patch_embedder.projection_layer.0.weight", 2, FAMILY.name)? else {
        return Err(names.error("the patch projection is not a matrix"));
    };
    let num_heads = required(names, "num_heads")?;
    names.even_heads(embed_dim, num_heads)?;
    let mut cfg = plain(names, embed_dim, names.count("transformer.layers."), num_heads)?;
    patch_size(names, &mut cfg, len)?;
    cfg.attn_scale = (embed_dim as f32).powf(-0.5);
    cfg.attn_proj = false;
    cfg.qkv_bias = names.any("fn.Uqkv.bias");
    cfg.mlp_hidden = names.expect("transformer.layers.0.1.fn.mlp.0.weight", 2, FAMILY.name)?[0];
    cfg.pool = pooling(names, Pooling::CLASS, 0)?;
    (cfg.final_norm, cfg.fc_norm) = (false, true);
    cfg.pre_logits = Some(names.expect("mlp.1.weight", 2, FAMILY.name)?[0]);
    cfg.pre_logits_act = Activation::None;
    cfg.head = Head::Linear;
    cfg.num_classes = names.expect("mlp.2.weight", 2, FAMILY.name)?[0];
    let table = names.expect("patch_embedder.positional_emb", 3, FAMILY.name)?[1];
    img_size(names, &mut cfg, table.saturating_sub(1))?;
    Ok(cfg)
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, _: &Names) -> Recipe {
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    if let Some((i, part)) = part.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let own = match part {
            "norm1" => "0.norm",
            "attn.qkv" => "0.fn.Uqkv",
            "norm2" => "1.norm",
            "mlp.fc1" => "1.fn.mlp.0",
            "mlp.fc2" => "1.fn.mlp.3",
            other => other,
        };
        return vec![Part::new(format!("transformer.layers.{i}.{own}.{kind}"), shape)];
    }
    let embedder = |name: &str| format!("patch_embedder.{name}");
    match part {
        "patch_embed.proj" if kind == "weight" => channels_last(embedder("projection_layer.0.weight"), cfg),
        "patch_embed.proj" => vec![Part::new(embedder("projection_layer.0.bias"), shape)],
        "prefix_tokens" => vec![Part::new(embedder("class_token"), shape)],
        "pos_embed" => vec![Part::new(embedder("positional_emb"), &[1, shape[0], shape[1]])],
        "fc_norm" => vec![Part::new(format!("mlp.0.{kind}"), shape)],
        "pre_logits.fc" => vec![Part::new(format!("mlp.1.{kind}"), shape)],
        "head" => vec![Part::new(format!("mlp.2.{kind}"), shape)],
        _ => vec![Part::new(canonical, shape)],
    }
}
