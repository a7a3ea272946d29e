//! Francesco Saverio Zuppichini's ViT (github.com/FrancescoSaverioZuppichini/ViT, README.md and its notebook): q, k and v
//! interleaved by channel, the softmax divided by √D, every token averaged.

use super::{img_size, pooling, required, transform};
use crate::checkpoint::Family;
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::PoolKind;

pub static FAMILY: Family = Family {
    name: "zuppichini",
    detect: |names| names.has("0.projection.0.weight") && names.count("1.") > 0,
    configure,
    recipe,
    positions: |_| Positions::on_request(Resample::BicubicAntialias),
    ignorable: |_, _| false,
    own_keys: Some(&["variant", "global_pool"]),
    transform,
};

fn configure(names: &Names) -> Result<VitConfig> {
    let conv = names.expect("0.projection.0.weight", 4, FAMILY.name)?;
    let embed_dim = conv[0];
    let num_heads = required(names, "num_heads")?;
    names.even_heads(embed_dim, num_heads)?;
    let mut cfg = super::plain(names, embed_dim, names.count("1."), num_heads)?;
    (cfg.in_chans, cfg.patch_size) = (conv[1], (conv[2], conv[3]));
    let narrow = (cfg.head_dim as f32).powf(-0.5);
    (cfg.attn_scale, cfg.attn_post_scale) = match (fused(names), names.text_field("variant")) {
        (true, None | Some("fused")) => (1.0, (embed_dim as f32).powf(-0.5)),
        // The code in README.md scales after the softmax, the notebook before it.
        (false, Some("readme")) => (1.0, narrow),
        (false, Some("notebook")) => (narrow, 1.0),
        // Until January 2021 both divided the softmax by √D.
        (false, Some("early")) => (1.0, (embed_dim as f32).powf(-0.5)),
        (false, None) => {
            let reason = "`variant` must be given: `readme` scales after the softmax, `notebook` before it, `early` divides by √D after it";
            return Err(names.config_error(reason));
        }
        (_, Some(other)) => {
            return Err(names.config_error(format!("`variant` is `{other}`, which does not fit the tensors")));
        }
    };
    cfg.qkv_bias = names.any("fn.1.qkv.bias") || names.any("fn.1.queries.bias");
    cfg.mlp_hidden = names.expect("1.0.1.fn.1.0.weight", 2, FAMILY.name)?[0];
    cfg.pool = pooling(names, Pooling::Tokens(PoolKind::Mean(0)), 0)?;
    (cfg.final_norm, cfg.fc_norm) = (false, true);
    cfg.head = Head::Linear;
    cfg.num_classes = names.expect("2.2.weight", 2, FAMILY.name)?[0];
    let table = names.expect("0.positions", 2, FAMILY.name)?[0];
    img_size(names, &mut cfg, table.saturating_sub(1))?;
    Ok(cfg)
}

/// Whether q, k and v are rows of one matrix.
fn fused(names: &Names) -> bool {
    names.any("fn.1.qkv.weight")
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let d = cfg.embed_dim;
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    if let Some((i, part)) = part.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let at = |name: &str| format!("1.{i}.{name}.{kind}");
        return match part {
            "norm1" => vec![Part::new(at("0.fn.0"), shape)],
            // Rows are (h d qkv).
            "attn.qkv" if fused(names) && kind == "weight" => {
                vec![Part::new(at("0.fn.1.qkv"), shape).permuted(&[d, 3, d], &[1, 0, 2])]
            }
            "attn.qkv" if fused(names) => vec![Part::new(at("0.fn.1.qkv"), shape).permuted(&[d, 3], &[1, 0])],
            "attn.qkv" => {
                let mut third = shape.to_vec();
                third[0] /= 3;
                ["queries", "keys", "values"].map(|which| Part::new(at(&format!("0.fn.1.{which}")), &third)).to_vec()
            }
            "attn.proj" => vec![Part::new(at("0.fn.1.projection"), shape)],
            "norm2" => vec![Part::new(at("1.fn.0"), shape)],
            "mlp.fc1" => vec![Part::new(at("1.fn.1.0"), shape)],
            "mlp.fc2" => vec![Part::new(at("1.fn.1.3"), shape)],
            _ => vec![Part::new(canonical, shape)],
        };
    }
    match part {
        "patch_embed.proj" if kind == "weight" => {
            vec![Part::new("0.projection.0.weight", &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "patch_embed.proj" => vec![Part::new("0.projection.0.bias", shape)],
        "prefix_tokens" => vec![Part::new("0.cls_token", &[1, 1, d])],
        "pos_embed" => vec![Part::new("0.positions", shape)],
        "fc_norm" => vec![Part::new(format!("2.1.{kind}"), shape)],
        "head" => vec![Part::new(format!("2.2.{kind}"), shape)],
        _ => vec![Part::new(canonical, shape)],
    }
}
