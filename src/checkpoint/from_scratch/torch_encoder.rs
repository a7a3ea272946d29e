//! A ViT that multiplies unfolded patches by a kernel and runs `nn.TransformerEncoder`. It has a class token, and a position table that is longer than needed.
//!
//! `batch_first` is the encoder's argument of this name. If it was false, but the encoder was given `[B, T, D]` all
//! the same, attention mixes the images of a batch. This is reproduced, so the results of such a model depend on the whole batch.

use super::{img_size, patch_size, pooling, required, transform};
use crate::checkpoint::Family;
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::{Batch, Block, Head, Pooling, VitConfig};
use crate::ops::Activation;

pub static FAMILY: Family = Family {
    name: "torch_encoder",
    detect: |names| names.has("kernel") && names.count("encoder.layers.") > 0,
    configure,
    recipe,
    positions: |_| Positions::on_request(Resample::BicubicAntialias),
    ignorable: |_, _| false,
    own_keys: Some(&["batch_first", "norm_first", "global_pool"]),
    transform,
};

fn configure(names: &Names) -> Result<VitConfig> {
    let matrix = names.shape("kernel").is_some_and(|shape| shape.len() == 2);
    let kernel = names.expect("kernel", if matrix { 2 } else { 4 }, FAMILY.name)?.to_vec();
    let num_heads = required(names, "num_heads")?;
    names.even_heads(kernel[0], num_heads)?;
    let mut cfg = super::plain(names, kernel[0], names.count("encoder.layers."), num_heads)?;
    match kernel[..] {
        [_, chans, ph, pw] => (cfg.in_chans, cfg.patch_size) = (chans, (ph, pw)),
        _ => patch_size(names, &mut cfg, kernel[1])?,
    }
    cfg.act = names.act_field("act")?.unwrap_or(Activation::Relu);
    cfg.patch_bias = false;
    cfg.block = if names.bool_field("norm_first")?.unwrap_or(false) { Block::PreNorm } else { Block::PostNorm };
    let Some(batch_first) = names.bool_field("batch_first")? else {
        return Err(names.config_error("`batch_first` must be given: it can't be seen in the tensors"));
    };
    cfg.batch = if batch_first { Batch::Independent } else { Batch::Coupled };
    cfg.qkv_bias = names.any("self_attn.in_proj_bias");
    cfg.proj_bias = names.any("self_attn.out_proj.bias");
    cfg.mlp_bias = names.any("linear2.bias");
    cfg.mlp_hidden = names.expect("encoder.layers.0.linear1.weight", 2, FAMILY.name)?[0];
    cfg.final_norm = names.has("encoder.norm.weight") || names.has("encoder.norm.bias");
    cfg.pool = pooling(names, Pooling::CLASS, 1)?;
    cfg.head = Head::Linear;
    cfg.num_classes = names.expect("linear_layer.weight", 2, FAMILY.name)?[0];
    let table = names.expect("position_embedding_table", 2, FAMILY.name)?[0];
    // The table is longer than the sequence, so the length of the sequence must come from the configuration.
    let Some((h, w)) = names.pair_field("img_size")? else {
        return Err(names.config_error("`img_size` must be given: it can't be seen in the tensors"));
    };
    let patches = (h / cfg.patch_size.0.max(1)) * (w / cfg.patch_size.1.max(1));
    if patches + 1 > table {
        let reason = format!("`img_size` {h}x{w} has {patches} patches, position_embedding_table has {table} rows");
        return Err(names.config_error(reason));
    }
    img_size(names, &mut cfg, patches)?;
    Ok(cfg)
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    if let Some((i, part)) = part.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let own = match part {
            // nn.MultiheadAttention joins these two with an underscore.
            "attn.qkv" => "self_attn.in_proj_",
            "attn.proj" => "self_attn.out_proj.",
            "mlp.fc1" => "linear1.",
            "mlp.fc2" => "linear2.",
            "norm1" => "norm1.",
            "norm2" => "norm2.",
            other => other,
        };
        return vec![Part::new(format!("encoder.layers.{i}.{own}{kind}"), shape)];
    }
    match part {
        "patch_embed.proj" => {
            let matrix = names.shape("kernel").is_some_and(|shape| shape.len() == 2);
            let conv = [cfg.embed_dim, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1];
            vec![Part::new("kernel", if matrix { shape } else { &conv })]
        }
        "prefix_tokens" => vec![Part::new("cls_token", &[1, 1, cfg.embed_dim])],
        "pos_embed" => {
            let rows = names.axis("position_embedding_table", 0).max(shape[0]);
            vec![Part::new("position_embedding_table", &[rows, cfg.embed_dim]).rows(0, shape[0])]
        }
        "norm" => vec![Part::new(format!("encoder.norm.{kind}"), shape)],
        "head" => vec![Part::new(format!("linear_layer.{kind}"), shape)],
        _ => vec![Part::new(canonical, shape)],
    }
}
