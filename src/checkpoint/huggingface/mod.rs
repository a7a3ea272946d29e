//! Hugging Face encoders. Files have the tensor names of transformers 4 (also on the hub), or those of a state dict of transformers 5.

mod clip;
mod dinov2;
mod processor;
mod text;
mod vit;

use super::names::Names;
use super::recipe::{Part, Recipe};
use crate::error::Result;
use crate::model::VitConfig;
use crate::preprocess::Transform;

pub use clip::FAMILY as CLIP;
pub use dinov2::FAMILY as DINOV2;
pub use processor::processor;
pub use text::TEXT;
pub use vit::FAMILY as VIT;

const CONV: &str = "embeddings.patch_embeddings.projection.weight";

/// Keys that every encoder's configuration has.
const KEYS: [&str; 14] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "image_size",
    "patch_size",
    "num_channels",
    "qkv_bias",
    "pooler_output_size",
    "pooler_act",
    "head_dim",
    "vision_config",
];

/// Reads the keys that all configurations share. `num_attention_heads` is 12 if it is missing, as in the library.
fn common(names: &Names, cfg: &mut VitConfig, default_eps: f32) -> Result<()> {
    cfg.norm_eps = names.number_field("layer_norm_eps")?.map_or(default_eps, |eps| eps as f32);
    cfg.act = names.act_field("hidden_act")?.unwrap_or(cfg.act);
    names.even_heads(cfg.embed_dim, cfg.num_heads)?;
    // Some versions of the library read this key and others don't, so only the value with which all agree is accepted.
    match names.size_field("head_dim")? {
        Some(width) if width != cfg.head_dim => {
            Err(names.config_error(format!("`head_dim` is {width}, heads of {} are run", cfg.head_dim)))
        }
        _ => Ok(()),
    }
}

/// Compares the sizes that every configuration states with the patch embedding of `own`.
fn agree(config: &Names, own: &Names, conv: &str) -> Result<()> {
    config.agree("hidden_size", own, conv, 0)?;
    config.agree("num_channels", own, conv, 1)?;
    config.agree_pair("patch_size", own, conv, [2, 3])
}

/// Whether the class is a classifier without labels. The library then leaves out only the last layer.
///
/// `classifies` says whether the tensors are those of a classifier, for a configuration that names no class.
fn has_no_labels(names: &Names, classifies: bool) -> bool {
    states_no_labels(names)
        && (names.class().contains("ForImageClassification") || names.class().is_empty() && classifies)
}

/// Whether the configuration says that there are no labels.
fn states_no_labels(names: &Names) -> bool {
    names.field("id2label").is_some_and(|labels| labels.as_object().is_some_and(serde_json::Map::is_empty))
        || names.field("num_labels").is_some_and(|labels| labels.as_u64() == Some(0))
}

/// An error if the class has a head but the file has no weights for it: the library would fill it with random values.
fn has_heads(names: &Names, family: &'static str) -> Result<()> {
    let class = names.class();
    let heads: &[&str] = match class {
        _ if has_no_labels(names, false) => &[],
        _ if class.ends_with("ForImageClassification") => &["classifier.weight"],
        _ if class.ends_with("ForImageClassificationWithTeacher") => {
            &["cls_classifier.weight", "distillation_classifier.weight"]
        }
        _ => &[],
    };
    match heads.iter().find(|head| !names.has(head)) {
        Some(head) => Err(names.missing(head, family)),
        None => Ok(()),
    }
}

/// The number of heads: from `config.json`, or 12, the library's default. Without a `config.json`, the usual number for this width.
fn heads(names: &Names, embed_dim: usize) -> Result<usize> {
    match (names.size_field("num_attention_heads")?, &names.config) {
        (Some(heads), _) => Ok(heads),
        (None, Some(_)) => Ok(12),
        (None, None) => super::names::standard_heads(embed_dim).ok_or_else(|| names.no_heads(embed_dim)),
    }
}

/// The image size for a position table of `patches` patches: from the configuration, or else a square.
fn image_size(names: &Names, cfg: &VitConfig, patches: usize) -> Result<(usize, usize)> {
    let (ph, pw) = cfg.patch_size;
    let (h, w) = match names.pair_field("image_size")? {
        Some(size) => size,
        None => {
            let grid = super::names::grid(patches, None).ok_or_else(|| {
                names.error(format!("{patches} positions are not a square grid: config.json must give image_size"))
            })?;
            (grid.0 * ph, grid.1 * pw)
        }
    };
    let (gh, gw) = (h / ph, w / pw);
    if gh * gw != patches {
        let reason = format!("the position table is for {patches} patches, image_size {h}x{w} has {gh}x{gw}");
        return Err(names.error(reason));
    }
    Ok((h, w))
}

/// The parts of a canonical weight of a block. The file has separate tensors for q, k and v.
fn in_block(part: &str, shape: &[usize], name: impl Fn(&str) -> String) -> Recipe {
    match part.strip_prefix("attn.qkv.") {
        Some(kind) => {
            let mut third = shape.to_vec();
            third[0] /= 3;
            ["q", "k", "v"].map(|which| Part::new(name(&format!("attn.{which}.{kind}")), &third)).to_vec()
        }
        None => vec![Part::new(name(part), shape)],
    }
}

/// Preprocessing by the class defaults of a processor, at the model's size.
fn by_processor(names: &Names, cfg: &VitConfig, kind: &str) -> Result<Transform> {
    let json = serde_json::json!({"image_processor_type": kind});
    processor(&json, names.text_field("transformers_version"), Some(cfg.img_size))
        .map_err(|reason| names.config_error(reason))
}
