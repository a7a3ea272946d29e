//! Google's `.npz` files: vit_jax and big_vision (`timm/models/vision_transformer.py` `_load_weights`; `big_vision/models/vit.py`).
//!
//! Kernels are `[in, out]`, attention's `[D, H, d]` and `[H, d, D]`; big_vision numbers modules from 0, vit_jax in the order
//! they are made, and layers may be stacked along a leading axis.

use super::names::{Names, grid, pair};
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Family, transforms};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig, arch};

pub static FAMILY: Family = Family {
    name: "jax",
    detect: |names| base(names).is_some(),
    configure,
    recipe,
    positions: |_| Positions::on_request(Resample::Zoom),
    // Optimiser state, and big_vision's text tower and temperature.
    ignorable: |name, _| {
        let state = ["opt/state/", "opt/", "params/txt/", "txt/", "params/t", "params/b", "t", "b", "extra/"];
        state.iter().any(|other| name.starts_with(other) && !name.contains("encoderblock") || name == *other)
    },
    own_keys: Some(&["global_pool"]),
    transform: |names, cfg| transforms::own(names, cfg).unwrap_or_else(|| Ok(transforms::big_vision(cfg.img_size))),
};

const BASES: [&str; 6] = ["", "opt/target/", "params/img/", "params/", "opt/target/img/", "img/"];

fn base(names: &Names) -> Option<&'static str> {
    BASES.into_iter().find(|base| names.has(&format!("{base}embedding/kernel")))
}

fn own(names: &Names) -> Names {
    names.under(base(names).unwrap_or(""))
}

/// How a file names what is in a block.
struct Layout {
    /// `LayerNorm_i`, `MultiHeadDotProductAttention_i`, `MlpBlock_i` of a block, in the file's numbering.
    norm2: &'static str,
    attn: &'static str,
    mlp: &'static str,
    stacked: bool,
}

impl Layout {
    fn of(own: &Names) -> Layout {
        let stacked = own.has("Transformer/encoderblock/LayerNorm_0/scale");
        let first = if stacked { "encoderblock" } else { "encoderblock_0" };
        if own.has(&format!("Transformer/{first}/MultiHeadDotProductAttention_1/query/kernel")) {
            Layout { norm2: "LayerNorm_2", attn: "MultiHeadDotProductAttention_1", mlp: "MlpBlock_3", stacked }
        } else {
            Layout { norm2: "LayerNorm_1", attn: "MultiHeadDotProductAttention_0", mlp: "MlpBlock_0", stacked }
        }
    }

    fn block(&self, i: usize) -> String {
        if self.stacked { "Transformer/encoderblock".to_owned() } else { format!("Transformer/encoderblock_{i}") }
    }
}

fn configure(names: &Names) -> Result<VitConfig> {
    let own = own(names);
    let layout = Layout::of(&own);
    let &[patch_h, patch_w, in_chans, embed_dim] = own.expect("embedding/kernel", 4, FAMILY.name)? else {
        return Err(names.error("embedding/kernel is not a convolution"));
    };
    let stacked = usize::from(layout.stacked);
    let query = format!("{}/{}/query/kernel", layout.block(0), layout.attn);
    let query = own.expect(&query, 3 + stacked, FAMILY.name)?;
    let depth = if layout.stacked {
        query[0]
    } else {
        (0..).take_while(|i| own.has(&format!("{}/LayerNorm_0/scale", layout.block(*i)))).count()
    };
    if depth == 0 {
        return Err(own.missing(&format!("{}/LayerNorm_0/scale", layout.block(0)), FAMILY.name));
    }
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, query[1 + stacked]);
    cfg.head_dim = query[2 + stacked];
    (cfg.in_chans, cfg.patch_size) = (in_chans, (patch_h, patch_w));
    let dense = format!("{}/{}/Dense_0/kernel", layout.block(0), layout.mlp);
    cfg.mlp_hidden = own.expect(&dense, 2 + stacked, FAMILY.name)?[1 + stacked];
    cfg.class_token = own.has("cls");
    // timm and Hugging Face run these weights with the exact GELU, and their published accuracies were measured with it.
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    cfg.norm_eps = names.number_field("eps")?.map_or(cfg.norm_eps, |eps| eps as f32);
    cfg.pre_logits = own.shape("pre_logits/kernel").and_then(|shape| shape.get(1).copied());
    cfg.num_classes = own.axis("head/kernel", 1);
    cfg.head = if cfg.num_classes > 0 { Head::Linear } else { Head::None };
    let default = match (own.has("MAPHead_0/probe"), cfg.class_token) {
        (true, _) => "map",
        (_, true) => "token",
        (_, false) => "avg",
    };
    let pool = names.text_field("global_pool").unwrap_or(default);
    cfg.pool = arch::global_pool(pool, cfg.prefix_tokens())
        .filter(|pool| *pool != Pooling::CLASS || cfg.class_token)
        .ok_or_else(|| names.config_error(format!("global_pool `{pool}` can't be run")))?;
    let table = own.expect(pos_embed(&own), 3, FAMILY.name)?[1];
    let configured = names.pair_field("image_size")?.or(names.field("img_size").and_then(pair));
    let configured_grid = configured.map(|(h, w)| (h / patch_h, w / patch_w));
    // vit_jax's table has a row for the class token, big_vision's none.
    let prefix = cfg.prefix_tokens();
    let found = [prefix, 0]
        .into_iter()
        .find_map(|covered| Some((covered, grid(table.checked_sub(covered)?, configured_grid)?)));
    let (covered, (gh, gw)) = found.ok_or_else(|| match cfg.class_token {
        true => names.error(format!("the {table} positions are not a square grid of patches")),
        false => own.missing("cls", FAMILY.name),
    })?;
    cfg.pos_prefix = covered;
    cfg.img_size = configured.filter(|_| configured_grid == Some((gh, gw))).unwrap_or((gh * patch_h, gw * patch_w));
    Ok(cfg)
}

fn pos_embed(own: &Names) -> &'static str {
    let vit_jax = "Transformer/posembed_input/pos_embedding";
    let big_vision = own.any("/MlpBlock_0/Dense_0/kernel") && !own.has(vit_jax);
    if big_vision { "pos_embedding" } else { vit_jax }
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let own = own(names);
    let layout = Layout::of(&own);
    let d = cfg.embed_dim;
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    if let Some((i, part)) = part.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let i: usize = i.parse().unwrap_or(0);
        let at = own.whole(&layout.block(i));
        let layer = layout.stacked.then_some((i, cfg.depth));
        let of = |module: &str| format!("{at}/{module}");
        return match part {
            "norm1" => norm(&of("LayerNorm_0"), kind, shape, layer),
            "norm2" => norm(&of(layout.norm2), kind, shape, layer),
            "attn.qkv" => qkv(&of(layout.attn), &["query", "key", "value"], kind, cfg, layer),
            "attn.proj" => out(&of(layout.attn), kind, shape, cfg, layer),
            "mlp.fc1" => dense(&of(&format!("{}/Dense_0", layout.mlp)), kind, shape, layer),
            "mlp.fc2" => dense(&of(&format!("{}/Dense_1", layout.mlp)), kind, shape, layer),
            _ => vec![Part::new(canonical, shape)],
        };
    }
    let of = |module: &str| own.whole(module);
    let pool = |module: &str| own.whole(&format!("MAPHead_0/{module}"));
    let pool_attn = pool("MultiHeadDotProductAttention_0");
    match part {
        "patch_embed.proj" if kind == "weight" => {
            let (ph, pw) = cfg.patch_size;
            let file = [ph, pw, cfg.in_chans, d];
            vec![Part::new(of("embedding/kernel"), &file).permuted(&file, &[3, 2, 0, 1])]
        }
        "patch_embed.proj" => vec![Part::new(of("embedding/bias"), shape)],
        "prefix_tokens" => vec![Part::new(of("cls"), &[1, 1, d])],
        "pos_embed" => vec![Part::new(of(pos_embed(&own)), &[1, shape[0], d])],
        "norm" => norm(&of("Transformer/encoder_norm"), kind, shape, None),
        "head" => dense(&of("head"), kind, shape, None),
        "pre_logits.fc" => dense(&of("pre_logits"), kind, shape, None),
        "attn_pool" => vec![Part::new(pool("probe"), &[1, 1, d])],
        "attn_pool.q" => qkv(&pool_attn, &["query"], kind, cfg, None),
        "attn_pool.kv" => qkv(&pool_attn, &["key", "value"], kind, cfg, None),
        "attn_pool.proj" => out(&pool_attn, kind, shape, cfg, None),
        "attn_pool.norm" => norm(&pool("LayerNorm_0"), kind, shape, None),
        "attn_pool.mlp.fc1" => dense(&pool("MlpBlock_0/Dense_0"), kind, shape, None),
        "attn_pool.mlp.fc2" => dense(&pool("MlpBlock_0/Dense_1"), kind, shape, None),
        _ => vec![Part::new(canonical, shape)],
    }
}

/// A tensor, or layer `i` of `depth` layers stacked in one tensor. With `axes`, it is permuted.
fn layered(name: String, shape: &[usize], layer: Option<(usize, usize)>, axes: Option<&[usize]>) -> Part {
    let part = match layer {
        None => Part::new(name, shape),
        Some((i, depth)) => {
            let stacked: Vec<usize> = std::iter::once(depth).chain(shape.iter().copied()).collect();
            Part::new(name, &stacked).rows(i, 1)
        }
    };
    match axes {
        Some(axes) => part.permuted(shape, axes),
        None => part,
    }
}

fn norm(module: &str, kind: &str, shape: &[usize], layer: Option<(usize, usize)>) -> Recipe {
    let kind = if kind == "weight" { "scale" } else { kind };
    vec![layered(format!("{module}/{kind}"), shape, layer, None)]
}

fn dense(module: &str, kind: &str, shape: &[usize], layer: Option<(usize, usize)>) -> Recipe {
    match shape {
        &[n, k] => vec![layered(format!("{module}/kernel"), &[k, n], layer, Some(&[1, 0]))],
        _ => vec![layered(format!("{module}/{kind}"), shape, layer, None)],
    }
}

/// Projections to heads: kernels `[D, H, d]`, biases `[H, d]`.
fn qkv(module: &str, which: &[&str], kind: &str, cfg: &VitConfig, layer: Option<(usize, usize)>) -> Recipe {
    let (d, h, dh) = (cfg.embed_dim, cfg.num_heads, cfg.head_dim);
    let part = |which: &&str| match kind {
        "weight" => layered(format!("{module}/{which}/kernel"), &[d, h, dh], layer, Some(&[1, 2, 0])),
        _ => layered(format!("{module}/{which}/bias"), &[h, dh], layer, None),
    };
    which.iter().map(part).collect()
}

/// The projection out of heads: kernel `[H, d, D]`.
fn out(module: &str, kind: &str, shape: &[usize], cfg: &VitConfig, layer: Option<(usize, usize)>) -> Recipe {
    match kind {
        "weight" => {
            let file = [cfg.num_heads, cfg.head_dim, cfg.embed_dim];
            vec![layered(format!("{module}/out/kernel"), &file, layer, Some(&[2, 0, 1]))]
        }
        _ => vec![layered(format!("{module}/out/bias"), shape, layer, None)],
    }
}
