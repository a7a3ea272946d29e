//! Derives the constructor's arguments from the tensors, for architectures that are not in the table. If the tensors of an option
//! are there, the option is on. Arguments that no tensor shows have the constructor's default, unless that would be a guess.

use serde_json::Value;

use super::{FAMILY, recipe};
use crate::checkpoint::names::{Names, pair, size, standard_heads};
use crate::error::Result;
use crate::model::Block;
use crate::model::constructor::{Arguments, GlobalPool, MlpLayer, NormLayer};

pub fn arguments(names: &Names, args: &Value) -> Result<Arguments> {
    let given = |name: &str| args.get(name).filter(|value| !value.is_null());
    let (embed_dim, in_chans, patch_size) = patch(names, args)?;
    let mut seen = Arguments { embed_dim, in_chans, patch_size, ..Arguments::default() };
    seen.depth = names.count("blocks.");
    let any = |endings: &[&str]| endings.iter().any(|ending| names.any(ending));
    seen.class_token = names.has("cls_token");
    seen.distilled = names.has("dist_token") || names.has("head_dist.weight");
    seen.reg_tokens = names.axis("reg_token", 1).max(names.axis("register_tokens", 1));
    seen.qkv_bias = any(&["attn.qkv.bias", ".in_proj.bias"]);
    seen.qk_norm = any(&[".q_norm.weight", ".k_norm.weight"]);
    seen.scale_attn_norm = any(&[".attn.norm.weight"]);
    seen.scale_mlp_norm = any(&[".mlp.norm.weight"]);
    // Attention pooling has its own MLP, which always has biases.
    let blocks = names.under("blocks.");
    let biases = [".attn.proj.bias", ".attn_out_proj.bias", ".mlp_out_proj.bias", ".mlp.fc2.bias", ".mlp.w3.bias"];
    seen.proj_bias = biases.iter().any(|ending| blocks.any(ending));
    seen.init_values = any(&[".gamma", ".gamma_1", ".gamma_2"]).then_some(1.0);
    seen.pre_norm = names.has("norm_pre.weight");
    let rms = !any(&[".norm1.bias", ".in_norm.bias", ".norm.bias", "fc_norm.bias"]);
    seen.norm_layer = NormLayer { rms, ..NormLayer::default() };
    seen.embed_norm_layer = names.has("patch_embed.norm.weight").then_some(seen.norm_layer);
    let fc_norm = names.has("fc_norm.weight") || names.has("fc_norm.bias");
    seen.fc_norm = Some(fc_norm);
    seen.block_fn = match names.count("blocks.0.attns.") {
        _ if names.any(".in_proj.weight") => Block::ParallelScaling,
        0 => Block::PreNorm,
        branches => Block::ParallelThings(branches),
    };
    seen.num_classes = names.axis("head.weight", 0);
    if given("global_pool").is_none() && names.text_field("global_pool").is_none_or(str::is_empty) {
        // A norm after the pooling usually means that the mean is pooled, unless `fc_norm` was set explicitly.
        let averaged = fc_norm && given("fc_norm").is_none();
        seen.global_pool = Some(match (names.has("attn_pool.latent"), averaged || !seen.class_token) {
            (true, _) => GlobalPool::Map,
            (false, true) => GlobalPool::Avg,
            (false, false) => GlobalPool::Token,
        });
    }
    mlp(names, &mut seen, given("mlp_layer").is_some(), given("act_layer").is_some())?;
    seen.num_heads = heads(names, args, embed_dim)?;
    if names.config.is_none() && seen.pre_norm {
        let reason =
            "a norm before the blocks means a CLIP model, whose activation and epsilon can't be seen in the weights";
        return Err(names.error(format!("{reason}: a config.json with the `architecture` must give them")));
    }
    Ok(seen)
}

/// The arguments of a known architecture at the sizes that the tensors show.
pub fn at_sizes(names: &Names, args: &Value, known: &Arguments) -> Result<Arguments> {
    let (embed_dim, in_chans, patch_size) = patch(names, args)?;
    let mut seen = Arguments { embed_dim, in_chans, patch_size, depth: names.count("blocks."), ..known.clone() };
    let fc1 = match seen.mlp_layer {
        MlpLayer::Glu => "mlp.fc1_x.weight",
        _ => "mlp.fc1.weight",
    };
    let parallel = seen.block_fn == Block::ParallelScaling;
    let (fc1, axis) = if parallel { ("mlp.fc2.weight", 1) } else { (fc1, 0) };
    let hidden = names.expect(&recipe::first(fc1, seen.block_fn, names), 2, FAMILY.name)?[axis];
    seen.mlp_ratio = ratio(hidden, embed_dim);
    seen.reg_tokens = names.axis("reg_token", 1);
    Ok(seen)
}

/// An `mlp_ratio` that gives this hidden width when `embed_dim · ratio` is cut to an integer: half a unit is added to be safe.
fn ratio(hidden: usize, embed_dim: usize) -> f64 {
    (hidden as f64 + 0.5) / embed_dim.max(1) as f64
}

/// The MLP's class and ratio. The tensors don't show the activation of a gate, nor which half is the gate.
fn mlp(names: &Names, seen: &mut Arguments, named: bool, activated: bool) -> Result<()> {
    let first = |part: &str| recipe::first(part, seen.block_fn, names);
    let inner = names.expect(&first("mlp.fc2.weight"), 2, FAMILY.name)?[1];
    let outer = names.axis(&first("mlp.fc1.weight"), 0);
    let parallel = seen.block_fn == Block::ParallelScaling;
    let metas = names.any(".mlp.w12.weight");
    let (layer, hidden) = match (recipe::gate_apart(names), !parallel && outer == 2 * inner) {
        (true, _) => (MlpLayer::Glu, inner),
        (_, true) => (MlpLayer::GluPacked, outer),
        _ if metas => (MlpLayer::GluPacked, 2 * inner),
        _ => (MlpLayer::Plain, inner),
    };
    seen.mlp_layer = layer;
    seen.mlp_ratio = ratio(hidden, seen.embed_dim);
    if metas {
        // This name occurs only in Meta's DINOv2, whose gate is known.
        seen.act_layer = crate::ops::Activation::Silu;
    } else if layer != MlpLayer::Plain {
        let packed = layer == MlpLayer::GluPacked;
        let untold = names.text_field("act").is_none() && !activated && names.field("model_args").is_none();
        if untold || packed && !named {
            let reason =
                "the MLP is gated, and the tensors don't show the activation of the gate, nor which half is the gate";
            let wanted = "an `architecture` that timm knows, or `mlp_layer` and `act_layer` in `model_args`";
            return Err(names.error(format!("{reason}: config.json must give {wanted}")));
        }
    }
    Ok(())
}

/// The width, the number of channels and the patch size. Very old files have the patch projection as a matrix.
fn patch(names: &Names, args: &Value) -> Result<(usize, usize, (usize, usize))> {
    if let Some(&[embed_dim, len]) = names.shape("patch_embed.proj.weight") {
        let chans = args.get("in_chans").and_then(size).unwrap_or(3).max(1);
        return match matrix_patch(args.get("patch_size").and_then(pair), chans, len) {
            Some(patch_size) => Ok((embed_dim, chans, patch_size)),
            None => Err(names.error(format!("patches of {len} values are not square with {chans} channels"))),
        };
    }
    let shape = names.expect("patch_embed.proj.weight", 4, FAMILY.name)?;
    Ok((shape[0], shape[1], (shape[2], shape[3])))
}

/// The patch of `len` values: of the configured size, else square.
fn matrix_patch(configured: Option<(usize, usize)>, chans: usize, len: usize) -> Option<(usize, usize)> {
    let side = (len / chans).isqrt();
    let fits = |(h, w): &(usize, usize)| h.checked_mul(*w).and_then(|hw| hw.checked_mul(chans)) == Some(len);
    configured.or(Some((side, side))).filter(fits)
}

fn heads(names: &Names, args: &Value, embed_dim: usize) -> Result<usize> {
    if let Some(heads) = args.get("num_heads").and_then(size).or(names.size_field("num_heads")?) {
        return Ok(heads);
    }
    match names.text_field("architecture") {
        Some(name) => {
            let reason = format!("architecture `{name}` is not known, and model_args has no num_heads");
            Err(names.config_error(reason))
        }
        None => standard_heads(embed_dim).ok_or_else(|| names.no_heads(embed_dim)),
    }
}
