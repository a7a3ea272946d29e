//! The format that `convert` writes and reads: canonical weights under timm's names, and the whole configuration in `config.json`.

use serde_json::{Map, Value, json};

use super::names::Names;
use super::positions::{Positions, Resample};
use super::recipe::{Part, Recipe};
use super::{Checkpoint, Family};
use crate::error::Result;
use crate::model::VitConfig;
use crate::preprocess::Transform;

pub static FAMILY: Family = Family {
    name: "canonical",
    detect: |names| {
        names.text_field("model_type") == Some("vit_gpu") && names.text_field("family") == Some(FAMILY.name)
    },
    configure: |names| {
        names.only_known(&[&KEYS])?;
        read(names, "vit")
    },
    recipe: |canonical, shape, cfg, _| parts(canonical, shape, cfg),
    positions: |names| {
        let read = names.field("positions").and_then(|rule| serde_json::from_value(rule.clone()).ok());
        read.unwrap_or(Positions::on_request(Resample::Never))
    },
    ignorable: |_, _| false,
    own_keys: None,
    transform: |names, cfg| {
        let transform: Transform = read(names, "transform")?;
        Ok(if transform.output_size() == Some(cfg.img_size) { transform } else { transform.with_size(cfg.img_size) })
    },
};

const KEYS: [&str; 10] = [
    "model_type",
    "family",
    "converted_from",
    "vit",
    "transform",
    "positions",
    "scores",
    "id2label",
    "label_names",
    "labels",
];

fn read<T: serde::de::DeserializeOwned>(names: &Names, field: &str) -> Result<T> {
    let value = names.field(field).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| names.config_error(format!("`{field}`: {error}")))
}

/// The tensors that a canonical weight is stored as. They have timm's names and shapes if timm has such a tensor.
pub fn parts(canonical: &str, shape: &[usize], cfg: &VitConfig) -> Recipe {
    let d = cfg.embed_dim;
    match canonical {
        "patch_embed.proj.weight" => {
            vec![Part::new(canonical, &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "prefix_tokens" => {
            let all = [
                ("cls_token", usize::from(cfg.class_token)),
                ("dist_token", usize::from(cfg.dist_token)),
                ("reg_token", cfg.reg_tokens),
            ];
            let there = all.into_iter().filter(|(_, count)| *count > 0);
            there.map(|(name, count)| Part::new(name, &[1, count, d])).collect()
        }
        "pos_embed" => vec![Part::new(canonical, &[1, shape[0], d])],
        "attn_pool.latent" => vec![Part::new(canonical, &[1, 1, d])],
        _ => vec![Part::new(canonical, shape)],
    }
}

/// The `config.json` of a converted checkpoint.
pub fn config(checkpoint: &Checkpoint) -> Value {
    let labels: Map<String, Value> = (0..checkpoint.config.num_classes)
        .filter_map(|i| Some((i.to_string(), checkpoint.labels.get(i)?.into())))
        .collect();
    json!({
        "model_type": "vit_gpu",
        "family": FAMILY.name,
        "converted_from": checkpoint.family,
        "vit": checkpoint.config,
        "transform": checkpoint.transform,
        "positions": checkpoint.positions,
        "scores": checkpoint.labels.scores(),
        "id2label": labels,
    })
}
