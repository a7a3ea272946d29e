//! timm's architecture names: `vit_base_patch16_224` and its relatives, as configurations.
//!
//! `architectures.csv` holds the constructor arguments of each, written by `scripts/architectures.py`.

use super::constructor::{Arguments, GlobalPool, MlpLayer, NormLayer, block_fn};
use super::{Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};

static TABLE: &str = include_str!("architectures.csv");

/// Architecture names that timm no longer uses, each with the name that replaced it.
static RENAMED: &str = include_str!("renamed_architectures.txt");

/// timm's architectures of other classes whose tensor names look like a VisionTransformer's.
static OTHERS: &str = include_str!("other_architectures.txt");

/// Whether this is the name of a timm architecture that is not a `VisionTransformer`.
#[must_use]
pub fn is_other(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or_default();
    OTHERS.lines().any(|other| other == name)
}

/// The configuration of a timm architecture name, `None` for one that is not in the table: see [`arguments`].
#[must_use]
pub fn lookup(name: &str) -> Option<VitConfig> {
    arguments(name)?.resolve().ok()
}

/// The constructor arguments of a timm architecture name, `None` for one that is not in the table.
///
/// A `.tag` after the name (`.augreg_in21k`) is ignored. If the name ends in an image size that timm has no model for, the model of
/// the same name at another size is used: `vit_tiny_patch16_64`.
#[must_use]
pub fn arguments(name: &str) -> Option<Arguments> {
    let name = name.split('.').next()?;
    let renamed = || RENAMED.lines().filter_map(|line| line.split_once(' '));
    let name = renamed().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
    let rows = || TABLE.lines().skip(1).filter_map(|line| line.split_once(','));
    if let Some((_, rest)) = rows().find(|(known, _)| *known == name) {
        return row(rest);
    }
    let (stem, size) = name.rsplit_once('_')?;
    let size: usize = size.parse().ok().filter(|size| *size <= 1 << 14)?;
    let same =
        |known: &str| known.rsplit_once('_').is_some_and(|(own, size)| own == stem && size.parse::<u32>().is_ok());
    let mut arguments = rows().find(|(known, _)| same(known)).and_then(|(_, rest)| row(rest))?;
    arguments.img_size = (size, size);
    (size >= arguments.patch_size.0).then_some(arguments)
}

/// Every name of the table, with the parameter count timm gives it.
pub fn names() -> impl Iterator<Item = (&'static str, Option<usize>)> {
    let rows = TABLE.lines().skip(1);
    rows.filter_map(|line| Some((line.split(',').next()?, line.rsplit(',').next()?.parse().ok())))
}

/// A row of the table, without its name. An empty cell is the constructor's default.
fn row(text: &str) -> Option<Arguments> {
    let mut made = Arguments::default();
    let columns = TABLE.lines().next()?.split(',').skip(1);
    for (column, cell) in columns.zip(text.split(',')).filter(|(_, cell)| !cell.is_empty()) {
        let number = || cell.parse::<usize>().ok();
        let flag = || number().map(|number| number != 0);
        let square = || number().map(|side| (side, side));
        match column {
            "img_size" => made.img_size = square()?,
            "own_img_size" => made.own_img_size = flag()?,
            "patch_size" => made.patch_size = square()?,
            "embed_dim" => made.embed_dim = number()?,
            "depth" => made.depth = number()?,
            "num_heads" => made.num_heads = number()?,
            "mlp_ratio" => made.mlp_ratio = cell.parse().ok()?,
            "mlp_layer" => made.mlp_layer = MlpLayer::named(cell)?,
            "act_layer" => made.act_layer = Activation::named(cell)?,
            "norm_layer" => made.norm_layer.rms = NormLayer::named(cell)?.rms,
            "norm_eps" => made.norm_layer.eps = cell.parse().ok()?,
            // `scripts/architectures.py` checks that both norms of a row are the same.
            "embed_norm_layer" => made.embed_norm_layer = Some(made.norm_layer),
            "block_fn" => made.block_fn = block_fn(cell)?,
            "class_token" => made.class_token = flag()?,
            "reg_tokens" => made.reg_tokens = number()?,
            "no_embed_class" => made.no_embed_class = flag()?,
            "pre_norm" => made.pre_norm = flag()?,
            "qkv_bias" => made.qkv_bias = flag()?,
            "qk_norm" => made.qk_norm = flag()?,
            "proj_bias" => made.proj_bias = flag()?,
            "scale_attn_norm" => made.scale_attn_norm = flag()?,
            "scale_mlp_norm" => made.scale_mlp_norm = flag()?,
            "init_values" => made.init_values = Some(cell.parse().ok()?),
            "global_pool" => made.global_pool = Some(GlobalPool::named(cell)?),
            "pool_include_prefix" => made.pool_include_prefix = flag()?,
            "final_norm" => made.final_norm = flag()?,
            "fc_norm" => made.fc_norm = Some(flag()?),
            "dynamic_img_size" => made.dynamic_img_size = flag()?,
            "distilled" => made.distilled = flag()?,
            "num_classes" => made.num_classes = number()?,
            "params" => {}
            _ => return None,
        }
    }
    Some(made)
}

/// timm's `global_pool`, over the tokens from `from` on.
#[must_use]
pub fn global_pool(name: &str, from: usize) -> Option<Pooling> {
    Some(match name {
        "token" => Pooling::CLASS,
        "avg" => Pooling::Tokens(PoolKind::Mean(from)),
        "max" => Pooling::Tokens(PoolKind::Max(from)),
        "avgmax" => Pooling::Tokens(PoolKind::AvgMax(from)),
        "map" => Pooling::Attention(from),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weight_specs;

    #[test]
    fn names_are_read_and_others_refused() {
        let base = lookup("vit_base_patch16_224.augreg2_in21k_ft_in1k").unwrap();
        assert_eq!((base.embed_dim, base.depth, base.num_heads, base.tokens()), (768, 12, 12, 197));
        assert_eq!(base, VitConfig::plain(224, 16, 768, 12, 12));
        assert!(lookup("deit3_small_patch16_384").unwrap().layer_scale);
        assert_eq!(lookup("deit_tiny_distilled_patch16_224").unwrap().tokens(), 198);
        assert_eq!(lookup("vit_tiny_patch16_64").unwrap().img_size, (64, 64));
        assert_eq!(lookup("vit_base_patch16_siglip_256").unwrap().pool, Pooling::Attention(0));
        for bad in
            ["", "vit", "vit_base", "vit_base_patch0_224", "resnet50", "vit_base_patch16_8", "swin_base_patch4_224"]
        {
            assert_eq!(lookup(bad), None, "{bad}");
        }
    }

    /// Every architecture of the table builds, is valid, and has exactly as many parameters as timm's.
    #[test]
    fn parameter_counts_are_timms() {
        let mut count = 0;
        for (name, params) in names() {
            let cfg = lookup(name).unwrap_or_else(|| panic!("{name} is not read"));
            cfg.validate(name).unwrap();
            let specs = weight_specs(&cfg).unwrap();
            let sum: usize = specs.iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
            assert_eq!(Some(sum), params, "{name}");
            count += 1;
        }
        assert!(count > 150, "{count} names");
        // Published elsewhere too (torchvision, checkpoints' READMEs), so the table is not its own witness.
        for (name, params) in [
            ("vit_base_patch16_224", 86_567_656),
            ("vit_large_patch16_224", 304_326_632),
            ("deit_base_distilled_patch16_224", 87_338_192),
            ("vit_base_patch16_siglip_224", 92_884_224),
            ("vit_small_patch14_reg4_dinov2", 22_057_344),
        ] {
            assert!(names().any(|row| row == (name, Some(params))), "{name}");
        }
    }
}
