//! Image size and position table.

use super::{FAMILY, Given};
use crate::checkpoint::names::{Names, grid, input_size, pair};
use crate::error::Result;
use crate::model::VitConfig;

/// The image size that the configuration names: by the arguments, or this crate's own key; for a model without a position table by
/// the architecture's own arguments, which come before the size that its weights were trained at; else by that.
pub fn configured_size(names: &Names) -> Option<(usize, usize)> {
    let from_args = names.field("model_args").and_then(|args| args.get("img_size")).and_then(pair);
    let from_root = names.field("img_size").and_then(pair);
    let known = || Given::new(names).ok().filter(Given::is_known).map(|given| given.arguments);
    let own = || known().filter(|known| known.own_img_size && !names.has("pos_embed")).map(|known| known.img_size);
    let pretrained = || names.field("pretrained_cfg").or(names.config.as_ref()).and_then(input_size);
    from_args.or(from_root).or_else(own).or_else(pretrained).or_else(|| known().map(|known| known.img_size))
}

/// The grid of the position table, and how many prefix tokens it covers.
pub fn positions(cfg: &mut VitConfig, names: &Names, given: &Given) -> Result<()> {
    let configured = configured_size(names);
    let (ph, pw) = cfg.patch_size;
    let configured_grid = configured.map(|(h, w)| (h / ph, w / pw));
    if !cfg.pos_embed {
        cfg.pos_prefix = 0;
        cfg.img_size = configured
            .ok_or_else(|| names.config_error("without a position table, a config.json must give the image size"))?;
        return Ok(());
    }
    let &[1, table, _] = names.expect("pos_embed", 3, FAMILY.name)? else {
        return Err(names.error("pos_embed is not [1, N, D]"));
    };
    // The table has rows for all prefix tokens, or for none (`no_embed_class`), or only for the class token (Meta's DINOv2).
    let prefix = cfg.prefix_tokens();
    let covers = match (names.has("register_tokens"), given.is_known() || given.has("no_embed_class")) {
        (true, _) => [1, 1],
        (false, true) => [cfg.pos_prefix; 2],
        (false, false) => [prefix, 0],
    };
    let by = |grid: &dyn Fn(usize) -> Option<(usize, usize)>| {
        covers.into_iter().find_map(|covered| grid(table.checked_sub(covered)?).map(|grid| (covered, grid)))
    };
    let found =
        by(&|patches| configured_grid.filter(|(h, w)| h * w == patches)).or_else(|| by(&|patches| grid(patches, None)));
    let (pos_prefix, (gh, gw)) = found.ok_or_else(|| {
        if !cfg.class_token {
            return names.missing("cls_token", FAMILY.name);
        }
        let wanted = configured_grid.map_or("no square grid".to_owned(), |(h, w)| format!("{h}x{w} patches"));
        let reason =
            format!("pos_embed has {table} rows, the configured image has {wanted} and {prefix} prefix tokens");
        names.error(reason)
    })?;
    cfg.pos_prefix = pos_prefix;
    cfg.img_size = configured.filter(|_| configured_grid == Some((gh, gw))).unwrap_or((gh * ph, gw * pw));
    Ok(())
}
