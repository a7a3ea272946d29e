//! The tensors of timm's files that canonical weights are made of.

use crate::checkpoint::canonical;
use crate::checkpoint::names::Names;
use crate::checkpoint::recipe::{Part, Recipe};
use crate::model::{Block, Mlp, VitConfig};

/// Whether a gated MLP has separate tensors for gate and values.
pub fn gate_apart(names: &Names) -> bool {
    names.any(".mlp.fc1_g.weight") || names.any(".mlp.fc1_x.weight")
}

/// Whether one tensor has the values first and then the gate (`GluMlp`). Canonical weights have the gate first.
fn gate_last(names: &Names) -> bool {
    names.field("model_args").and_then(|args| args.get("mlp_layer")?.as_str()) == Some("GluMlp")
}

/// The name of the first branch of this kind within a block.
fn in_block(part: &str, block: Block) -> String {
    match (block, part.split_once('.')) {
        (Block::ParallelThings(_), Some(("attn" | "ls1" | "norm1", _))) => {
            format!("attns.0.{}", part.replacen("ls1", "ls", 1).replacen("norm1", "norm", 1))
        }
        (Block::ParallelThings(_), Some(("mlp", _))) => format!("ffns.0.{part}"),
        (Block::ParallelScaling, _) => part.replacen("ls1", "ls", 1),
        _ => part.to_owned(),
    }
}

/// The file's name for a part of the first block, or of its first branch.
pub fn first(part: &str, block: Block, names: &Names) -> String {
    file_name(&format!("blocks.0.{}", in_block(part, block)), block, names)
}

/// The file's name for a canonical weight that is one whole tensor there.
fn file_name(canonical: &str, block: Block, names: &Names) -> String {
    let mut name = canonical.to_owned();
    // Attention pooling has the same layout for all kinds of blocks.
    if name.starts_with("attn_pool.") {
        return name;
    }
    if names.any(".gamma_1") {
        name = name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2");
    }
    if names.any(".mlp.w12.weight") || names.any(".mlp.w3.weight") {
        name = name.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.");
    }
    if block == Block::ParallelScaling {
        let own = [
            ("norm1.", "in_norm."),
            ("attn.q_norm.", "q_norm."),
            ("attn.k_norm.", "k_norm."),
            ("attn.proj.", "attn_out_proj."),
            ("mlp.fc2.", "mlp_out_proj."),
            ("attn.qkv.", "in_proj."),
            ("mlp.fc1.", "in_proj."),
        ];
        own.iter().for_each(|(canonical, own)| name = name.replace(canonical, own));
    }
    name
}

pub fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let d = cfg.embed_dim;
    let name = file_name(canonical, cfg.block, names);
    match canonical {
        "patch_embed.proj.weight" => {
            let flat = names.shape(canonical).is_some_and(|shape| shape.len() == 2);
            let conv = [d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1];
            return vec![Part::new(canonical, if flat { shape } else { &conv })];
        }
        "prefix_tokens" | "pos_embed" | "attn_pool.latent" => {
            let mut parts = canonical::parts(canonical, shape, cfg);
            if names.has("register_tokens") {
                parts.iter_mut().for_each(|part| part.tensor = part.tensor.replace("reg_token", "register_tokens"));
            }
            return parts;
        }
        _ => {}
    }
    let rows_of = |first: usize| {
        let mut whole = shape.to_vec();
        whole[0] = cfg.mlp_hidden + 3 * cfg.attn_dim();
        vec![Part::new(name.clone(), &whole).rows(first, shape[0])]
    };
    match canonical.split_once(".mlp.fc1.") {
        // One tensor has the MLP's hidden layer, q, k and v, in this order.
        _ if canonical.starts_with("attn_pool") => vec![Part::new(name, shape)],
        Some((block, "bias")) if cfg.block == Block::ParallelScaling && !cfg.qkv_bias => {
            vec![Part::new(format!("{block}.mlp_bias"), shape)]
        }
        Some(_) if cfg.block == Block::ParallelScaling => rows_of(0),
        None if cfg.block == Block::ParallelScaling && canonical.contains(".attn.qkv.") => rows_of(cfg.mlp_hidden),
        // The gate has its own tensor; it comes before the values.
        Some((block, kind)) if cfg.mlp == Mlp::Glu && gate_apart(names) => {
            let mut half = shape.to_vec();
            half[0] /= 2;
            ["fc1_g", "fc1_x"].map(|fc| Part::new(format!("{block}.mlp.{fc}.{kind}"), &half)).to_vec()
        }
        Some(_) if cfg.mlp == Mlp::Glu && gate_last(names) => {
            let half = shape[0] / 2;
            [half, 0].map(|first| Part::new(name.clone(), shape).rows(first, half)).to_vec()
        }
        _ => vec![Part::new(name, shape)],
    }
}
