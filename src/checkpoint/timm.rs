//! timm `VisionTransformer` and distilled DeiT (`timm/models/vision_transformer.py`, `deit.py`).

use serde_json::Value;

use super::names::{Names, grid, input_size, pair, size, standard_heads};
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Family, transforms};
use crate::error::Result;
use crate::model::{Block, Head, Mlp, Pooling, VitConfig, arch};
use crate::ops::Activation;
use crate::preprocess::Transform;

pub static FAMILY: Family = Family {
    name: "timm",
    detect: |names| names.has("patch_embed.proj.weight"),
    configure,
    recipe: |canonical, shape, cfg, names| recipe(canonical, shape, cfg, names),
    // timm loads a table of another size by resampling it.
    positions: |names| {
        let flexible = names.text_field("architecture").is_some_and(|name| name.starts_with("flexivit"));
        let rule = if flexible { Resample::Bilinear } else { Resample::BicubicAntialias };
        Positions { image_size: configured_size(names), ..Positions::on_request(rule) }
    },
    // Unused by timm since 0.6: the tanh layer that in-21k models once had.
    ignorable: |name, _| name.starts_with("pre_logits."),
    transform,
};

/// `model_args` that change nothing at inference, or that the weights show.
const HARMLESS_ARGS: [&str; 25] = [
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
];

/// What the configuration says: constructor arguments, and the architecture by name where it is known.
struct Given {
    args: Value,
    known: Option<VitConfig>,
}

impl Given {
    fn new(names: &Names) -> Given {
        let known = names.text_field("architecture").or(names.text_field("timm_model_name")).and_then(arch::lookup);
        Given { args: names.field("model_args").cloned().unwrap_or(Value::Null), known }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.args.get(name).and_then(Value::as_bool)
    }
}

pub fn configure(names: &Names) -> Result<VitConfig> {
    let given = Given::new(names);
    let known = given.known.as_ref();
    let (embed_dim, in_chans, patch_size) = patch(names, &given)?;
    let depth = names.count("blocks.");
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, heads(names, &given, embed_dim)?);
    (cfg.in_chans, cfg.patch_size) = (in_chans, patch_size);
    cfg.patch_bias = names.has("patch_embed.proj.bias");
    cfg.embed_norm = names.has("patch_embed.norm.weight");
    cfg.class_token = names.has("cls_token");
    cfg.dist_token = names.has("dist_token");
    cfg.reg_tokens = names.axis("reg_token", 1).max(names.axis("register_tokens", 1));
    cfg.block = block_fn(names, &given)?;
    let first = |part: &str| file_name(&format!("blocks.0.{}", in_block(part, cfg.block)), cfg.block, names);
    cfg.qkv_bias = names.has(&first("attn.qkv.bias"));
    cfg.qk_norm = names.has(&first("attn.q_norm.weight"));
    cfg.proj_bias = names.has(&first("attn.proj.bias"));
    cfg.mlp_bias = names.has(&first("mlp.fc2.bias"));
    cfg.rms_norm = !names.has(&first("norm1.bias"));
    cfg.layer_scale = names.has(&first("ls1.gamma"));
    cfg.mlp_hidden = names.axis(&first("mlp.fc2.weight"), 1);
    let packed = names.axis(&first("mlp.fc1.weight"), 0) == 2 * cfg.mlp_hidden && cfg.block != Block::ParallelScaling;
    if packed || names.has("blocks.0.mlp.fc1_g.weight") {
        (cfg.mlp, cfg.act) = (Mlp::Glu, Activation::Silu);
    }
    cfg.pre_norm = names.has("norm_pre.weight");
    cfg.final_norm = names.has("norm.weight");
    cfg.fc_norm = names.has("fc_norm.weight");
    cfg.head = match (names.has("head.weight"), names.has("head_dist.weight")) {
        (false, _) => Head::None,
        (true, false) => Head::Linear,
        (true, true) => Head::Distilled,
    };
    cfg.num_classes = names.axis("head.weight", 0);
    if let Some(known) = known {
        (cfg.norm_eps, cfg.act) = (known.norm_eps, known.act);
    }
    if let Some(eps) = names.number_field("eps")? {
        cfg.norm_eps = eps as f32;
    }
    cfg.act = names.act_field("act")?.unwrap_or(cfg.act);
    if cfg.qk_norm {
        cfg.head_dim = names.axis(&first("attn.q_norm.weight"), 0);
        if cfg.head_dim * cfg.num_heads != embed_dim {
            let reason = format!("q_norm is for heads of {}, {} heads of {embed_dim} are", cfg.head_dim, cfg.num_heads);
            return Err(names.error(format!("{reason} {} wide", embed_dim / cfg.num_heads.max(1))));
        }
    } else if !embed_dim.is_multiple_of(cfg.num_heads.max(1)) {
        return Err(names.config_error(format!("{} heads don't divide a width of {embed_dim}", cfg.num_heads)));
    }
    apply_args(&mut cfg, &given.args, names)?;
    cfg.pool = pool(&cfg, names, &given)?;
    positions(&mut cfg, names, &given)?;
    Ok(cfg)
}

/// D, C and the patch's size; ancient files keep the projection as a matrix.
fn patch(names: &Names, given: &Given) -> Result<(usize, usize, (usize, usize))> {
    if let Some(&[embed_dim, len]) = names.shape("patch_embed.proj.weight") {
        let configured = given.args.get("patch_size").and_then(pair).or(given.known.as_ref().map(|cfg| cfg.patch_size));
        let chans = given.args.get("in_chans").and_then(size).unwrap_or(3);
        let square = || Some((len / chans).isqrt()).map(|side| (side, side));
        return match configured.or_else(square).filter(|(h, w)| chans * h * w == len) {
            Some(patch_size) => Ok((embed_dim, chans, patch_size)),
            None => Err(names.error(format!("patches of {len} values are no square of {chans} channels"))),
        };
    }
    let shape = names.expect("patch_embed.proj.weight", 4, FAMILY.name)?;
    Ok((shape[0], shape[1], (shape[2], shape[3])))
}

fn heads(names: &Names, given: &Given, embed_dim: usize) -> Result<usize> {
    let given_heads = given.args.get("num_heads").and_then(size).or(names.size_field("num_heads")?);
    if let Some(heads) = given_heads.or(given.known.as_ref().map(|cfg| cfg.num_heads)) {
        return Ok(heads);
    }
    match names.text_field("architecture") {
        Some(name) => {
            let reason = format!("architecture `{name}` is not known here, and model_args has no num_heads");
            Err(names.config_error(reason))
        }
        None => standard_heads(embed_dim).ok_or_else(|| names.no_heads(embed_dim)),
    }
}

fn block_fn(names: &Names, given: &Given) -> Result<Block> {
    if names.has("blocks.0.in_proj.weight") {
        return Ok(Block::ParallelScaling);
    }
    if names.has("blocks.0.attns.0.attn.qkv.weight") {
        return Ok(Block::ParallelThings(names.count("blocks.0.attns.")));
    }
    // The same tensors in another order: only the configuration tells.
    match given.args.get("block_fn") {
        Some(name) => {
            let known = name.as_str().and_then(arch::block_fn);
            known.ok_or_else(|| names.config_error(format!("model_args.block_fn is {name}")))
        }
        None => Ok(given.known.as_ref().map_or(Block::PreNorm, |cfg| cfg.block)),
    }
}

fn pool(cfg: &VitConfig, names: &Names, given: &Given) -> Result<Pooling> {
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
        (.., has_class) => {
            if has_class {
                "token"
            } else {
                "avg"
            }
        }
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
        return Err(names.config_error("global_pool is `token`, but there is no class token"));
    }
    Ok(pool)
}

/// Constructor arguments: those that set numbers, and none that contradicts the weights or would go unnoticed.
fn apply_args(cfg: &mut VitConfig, args: &Value, names: &Names) -> Result<()> {
    let Some(args) = args.as_object() else { return Ok(()) };
    for (name, value) in args {
        let bad = || names.config_error(format!("model_args.{name} is {value}"));
        let same = |found: usize| if size(value) == Some(found) { Ok(()) } else { Err(bad()) };
        let flag = |found: bool| if value.as_bool() == Some(found) { Ok(()) } else { Err(bad()) };
        match name.as_str() {
            "embed_dim" => same(cfg.embed_dim)?,
            "depth" => same(cfg.depth)?,
            "num_heads" => same(cfg.num_heads)?,
            "in_chans" => same(cfg.in_chans)?,
            "reg_tokens" => same(cfg.reg_tokens)?,
            "qkv_bias" => flag(cfg.qkv_bias)?,
            "qk_norm" => flag(cfg.qk_norm)?,
            "proj_bias" => flag(cfg.proj_bias)?,
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

/// The image size that the configuration names.
fn configured_size(names: &Names) -> Option<(usize, usize)> {
    let from_args = names.field("model_args").and_then(|args| args.get("img_size")).and_then(pair);
    let pretrained = names.field("pretrained_cfg").or(names.config.as_ref());
    let known = || Given::new(names).known.map(|cfg| cfg.img_size);
    from_args.or_else(|| pretrained.and_then(input_size)).or_else(known)
}

/// The grid of the position table, and how many prefix tokens it covers.
fn positions(cfg: &mut VitConfig, names: &Names, given: &Given) -> Result<()> {
    let configured = configured_size(names);
    let (ph, pw) = cfg.patch_size;
    let configured_grid = configured.map(|(h, w)| (h / ph, w / pw));
    cfg.pos_embed = names.has("pos_embed");
    if !cfg.pos_embed {
        cfg.pos_prefix = 0;
        cfg.img_size = configured
            .ok_or_else(|| names.config_error("without a position table, a config.json must give the image size"))?;
        return Ok(());
    }
    let &[1, table, _] = names.expect("pos_embed", 3, FAMILY.name)? else {
        return Err(names.error("pos_embed is not [1, N, D]"));
    };
    // The table covers the prefix, or (`no_embed_class`) the patches alone, or in Meta's DINOv2 the class token alone.
    let prefix = cfg.prefix_tokens();
    let bare = given.flag("no_embed_class").or(given.known.as_ref().map(|cfg| cfg.pos_prefix == 0)).unwrap_or(false);
    let covers = match (names.has("register_tokens"), bare) {
        (true, _) => [1, 1],
        (false, true) => [0, prefix],
        (false, false) => [prefix, 0],
    };
    let by = |grid: &dyn Fn(usize) -> Option<(usize, usize)>| {
        covers.into_iter().find_map(|covered| grid(table.checked_sub(covered)?).map(|grid| (covered, grid)))
    };
    let found =
        by(&|patches| configured_grid.filter(|(h, w)| h * w == patches)).or_else(|| by(&|patches| grid(patches, None)));
    let (pos_prefix, (gh, gw)) = found.ok_or_else(|| {
        let wanted = configured_grid.map_or("no square grid".to_owned(), |(h, w)| format!("{h}x{w} patches"));
        let reason =
            format!("pos_embed has {table} rows, the configured image has {wanted} and {prefix} prefix tokens");
        names.error(reason)
    })?;
    cfg.pos_prefix = pos_prefix;
    cfg.img_size = configured.filter(|_| configured_grid == Some((gh, gw))).unwrap_or((gh * ph, gw * pw));
    Ok(())
}

/// Where the first branch of a kind is within a block.
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

/// The file's name for a canonical weight that is one whole tensor there.
fn file_name(canonical: &str, block: Block, names: &Names) -> String {
    let mut name = canonical.to_owned();
    if names.has("blocks.0.gamma_1") {
        name = name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2");
    }
    if names.has("blocks.0.mlp.w12.weight") {
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
        "prefix_tokens" => {
            let registers = if names.has("register_tokens") { "register_tokens" } else { "reg_token" };
            let counts = [
                ("cls_token", usize::from(cfg.class_token)),
                ("dist_token", usize::from(cfg.dist_token)),
                (registers, cfg.reg_tokens),
            ];
            let there = counts.into_iter().filter(|(_, count)| *count > 0);
            return there.map(|(name, count)| Part::new(name, &[1, count, d])).collect();
        }
        "pos_embed" => return vec![Part::new(canonical, &[1, shape[0], d])],
        "attn_pool.latent" => return vec![Part::new(canonical, &[1, 1, d])],
        _ => {}
    }
    let rows_of = |first: usize| {
        let mut whole = shape.to_vec();
        whole[0] = cfg.mlp_hidden + 3 * cfg.attn_dim();
        vec![Part::new(name.clone(), &whole).rows(first, shape[0])]
    };
    match canonical.split_once(".mlp.fc1.") {
        // One product makes the MLP's hidden layer, q, k and v, in this order.
        Some((block, "bias")) if cfg.block == Block::ParallelScaling && !cfg.qkv_bias => {
            vec![Part::new(format!("{block}.mlp_bias"), shape)]
        }
        Some(_) if cfg.block == Block::ParallelScaling && !canonical.starts_with("attn_pool") => rows_of(0),
        None if cfg.block == Block::ParallelScaling && canonical.contains(".attn.qkv.") => rows_of(cfg.mlp_hidden),
        // The gate in a tensor of its own, before the values.
        Some((block, kind)) if cfg.mlp == Mlp::Glu && names.has(&format!("{block}.mlp.fc1_g.{kind}")) => {
            let mut half = shape.to_vec();
            half[0] /= 2;
            ["fc1_g", "fc1_x"].map(|fc| Part::new(format!("{block}.mlp.{fc}.{kind}"), &half)).to_vec()
        }
        _ => vec![Part::new(name, shape)],
    }
}

fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    // Without a configuration: what most timm ViTs (augreg) were trained with.
    let cfg_json = names.field("pretrained_cfg").or(names.config.as_ref());
    transforms::timm(cfg_json.unwrap_or(&Value::Null), cfg.img_size).map_err(|reason| names.config_error(reason))
}
