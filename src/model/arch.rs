//! timm's architecture names: `vit_base_patch16_224` and its relatives, as configurations.
//!
//! `architectures.csv` is what timm's registry says of each, written by `scripts/architectures.py`.

use super::{Block, Head, Mlp, Pooling, VitConfig};
use crate::ops::{Activation, PoolKind};

static TABLE: &str = include_str!("architectures.csv");

/// The configuration of a timm architecture name, `None` for one that is not in the table.
///
/// A `.tag` behind the name (`.augreg_in21k`) is ignored. Where a name ends in an image size that timm has no model of, the
/// model of the same name at another size is taken: `vit_tiny_patch16_64`.
#[must_use]
pub fn lookup(name: &str) -> Option<VitConfig> {
    let name = name.split('.').next()?;
    let rows = || TABLE.lines().skip(1).filter_map(|line| line.split_once(','));
    if let Some((_, rest)) = rows().find(|(known, _)| *known == name) {
        return config(rest);
    }
    let (stem, size) = name.rsplit_once('_')?;
    let size: usize = size.parse().ok().filter(|size| *size <= 1 << 14)?;
    let same =
        |known: &str| known.rsplit_once('_').is_some_and(|(own, size)| own == stem && size.parse::<u32>().is_ok());
    let mut cfg = rows().find(|(known, _)| same(known)).and_then(|(_, rest)| config(rest))?;
    cfg.img_size = (size, size);
    (size >= cfg.patch_size.0).then_some(cfg)
}

/// Every name of the table, with the parameter count timm gives it.
pub fn names() -> impl Iterator<Item = (&'static str, Option<usize>)> {
    let rows = TABLE.lines().skip(1);
    rows.filter_map(|line| Some((line.split(',').next()?, line.rsplit(',').next()?.parse().ok())))
}

/// A row of the table, without its name.
fn config(row: &str) -> Option<VitConfig> {
    let mut cells = row.split(',');
    let mut cell = || cells.next();
    let number = |cell: Option<&str>| cell?.parse::<usize>().ok();
    let flag = |cell: Option<&str>| Some(cell? == "1");
    let (img, patch) = (number(cell())?, number(cell())?);
    let (embed_dim, depth, num_heads) = (number(cell())?, number(cell())?, number(cell())?);
    let mut cfg = VitConfig::plain(img, patch, embed_dim, depth, num_heads);
    cfg.mlp_hidden = number(cell())?;
    cfg.mlp = if cell()? == "glu" { Mlp::Glu } else { Mlp::Plain };
    cfg.act = Activation::named(cell()?)?;
    cfg.rms_norm = cell()? == "rms";
    cfg.norm_eps = cell()?.parse().ok()?;
    cfg.block = block_fn(cell()?)?;
    cfg.class_token = flag(cell())?;
    cfg.reg_tokens = number(cell())?;
    let no_embed_class = flag(cell())?;
    cfg.pre_norm = flag(cell())?;
    cfg.patch_bias = !cfg.pre_norm;
    cfg.embed_norm = flag(cell())?;
    cfg.qkv_bias = flag(cell())?;
    cfg.proj_bias = flag(cell())?;
    // A parallel block's MLP has its bias even where the products have none.
    cfg.mlp_bias = cfg.proj_bias;
    cfg.qk_norm = flag(cell())?;
    cfg.layer_scale = flag(cell())?;
    let (pool, include_prefix) = (cell()?, flag(cell())?);
    cfg.final_norm = flag(cell())?;
    cfg.fc_norm = flag(cell())?;
    if flag(cell())? {
        cfg.dist_token = true;
        cfg.head = Head::Distilled;
    }
    cfg.num_classes = number(cell())?;
    if cfg.num_classes == 0 {
        cfg.head = Head::None;
    }
    cfg.pool = global_pool(pool, if include_prefix { 0 } else { cfg.prefix_tokens() })?;
    cfg.pos_prefix = if no_embed_class { 0 } else { cfg.prefix_tokens() };
    Some(cfg)
}

/// timm's `block_fn`, by the table's names and by those of its classes.
#[must_use]
pub fn block_fn(name: &str) -> Option<Block> {
    Some(match name {
        "pre_norm" | "Block" => Block::PreNorm,
        "res_post" | "ResPostBlock" => Block::ResPost,
        "parallel_scaling" | "ParallelScalingBlock" => Block::ParallelScaling,
        "parallel_things" | "ParallelThingsBlock" => Block::ParallelThings(2),
        _ => return None,
    })
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
