//! timm's architecture names: `vit_base_patch16_224` and its relatives, as configurations.

use super::{Head, VitConfig};
use crate::ops::PoolKind;

/// Widths of the named sizes: D, depth, H (timm `vision_transformer.py`, `deit.py`).
const SIZES: [(&str, usize, usize, usize); 7] = [
    ("tiny", 192, 12, 3),
    ("small", 384, 12, 6),
    ("medium", 512, 12, 8),
    ("base", 768, 12, 12),
    ("large", 1024, 24, 16),
    ("huge", 1280, 32, 16),
    ("giant", 1408, 40, 16),
];

/// The configuration of a timm architecture name, `None` for one that is not a plain ViT or DeiT of this table.
///
/// Reads `{vit,deit,deit3}_{size}[_distilled]_patch{P}_{img}`; a `.tag` behind the name (`.augreg_in21k`) is ignored.
#[must_use]
pub fn lookup(name: &str) -> Option<VitConfig> {
    let name = name.split('.').next()?;
    let (family, rest) = name.split_once('_')?;
    let (size, rest) = rest.split_once('_')?;
    let (distilled, rest) = match rest.strip_prefix("distilled_") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (patch, img) = rest.strip_prefix("patch")?.split_once('_')?;
    let (patch, img): (usize, usize) = (patch.parse().ok()?, img.parse().ok()?);
    if patch == 0 || img < patch || img > 1 << 14 {
        return None;
    }
    let &(_, embed_dim, depth, num_heads) = SIZES.iter().find(|(known, ..)| *known == size)?;
    let mut cfg = VitConfig::plain(img, patch, embed_dim, depth, num_heads);
    match (family, distilled) {
        ("vit", false) | ("deit", false) => {}
        ("deit", true) => {
            cfg.dist_token = true;
            cfg.pos_prefix = 2;
            cfg.head = Head::Distilled;
        }
        ("deit3", false) => {
            cfg.layer_scale = true;
            cfg.pos_prefix = 0;
        }
        _ => return None,
    }
    if (family, size) == ("vit", "giant") {
        cfg.mlp_hidden = 6144;
    }
    Some(cfg)
}

/// timm's `global_pool`: `token`, or `avg` over the tokens after the prefix.
#[must_use]
pub fn global_pool(name: &str, prefix_tokens: usize) -> Option<PoolKind> {
    match name {
        "token" => Some(PoolKind::Token(0)),
        "avg" => Some(PoolKind::Mean(prefix_tokens)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_others_refused() {
        let base = lookup("vit_base_patch16_224.augreg2_in21k_ft_in1k").unwrap();
        assert_eq!((base.embed_dim, base.depth, base.num_heads, base.tokens()), (768, 12, 12, 197));
        assert!(lookup("deit3_small_patch16_384").unwrap().layer_scale);
        assert_eq!(lookup("deit_tiny_distilled_patch16_224").unwrap().tokens(), 198);
        for bad in
            ["", "vit", "vit_base", "vit_base_patch0_224", "resnet50", "vit_base_patch16_8", "swin_base_patch4_224"]
        {
            assert_eq!(lookup(bad), None, "{bad}");
        }
    }
}
