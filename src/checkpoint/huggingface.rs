//! Hugging Face ViT and DeiT, in the names of transformers 4 (and of hub files) and in those a raw version-5 state dict has.

use serde_json::Value;

use super::names::{Names, activation, standard_heads};
use super::recipe::{Part, Recipe};
use super::{Family, transforms};
use crate::error::{Error, Result};
use crate::model::{Head, VitConfig};
use crate::ops::PoolKind;
use crate::preprocess::Transform;

const CONV: &str = "embeddings.patch_embeddings.projection.weight";

pub static FAMILY: Family = Family {
    name: "huggingface",
    detect: |names| base(names).is_some(),
    configure,
    recipe,
    ignorable: |name, cfg| {
        let classifies = cfg.head != Head::None;
        name.ends_with("embeddings.mask_token")
            || name.ends_with("embeddings.position_ids")
            // A pooler beside a classifier is a leftover of pre-training: the classifier reads the class token itself.
            || (classifies && (name.starts_with("pooler.") || name.contains(".pooler.")))
    },
    transform,
};

/// The prefix of the encoder's names: a task model's, or none.
fn base(names: &Names) -> Option<&'static str> {
    ["", "vit.", "deit."].into_iter().find(|base| names.has(&format!("{base}{CONV}")))
}

fn configure(names: &Names) -> Result<VitConfig> {
    let base = base(names).unwrap_or("");
    let at = |name: &str| format!("{base}{name}");
    if let Some(kind) = names.field("model_type").and_then(Value::as_str).filter(|kind| !["vit", "deit"].contains(kind))
    {
        return Err(names.config_error(format!("model_type `{kind}` is not supported (vit and deit are)")));
    }
    let &[embed_dim, in_chans, patch_h, patch_w] = names.expect(&at(CONV), 4, FAMILY.name)? else {
        return Err(Error::model(&names.file, "the patch projection is not a convolution"));
    };
    let depth = names.count(&at("encoder.layer.")).max(names.count(&at("layers.")));
    let heads = names.size_field("num_attention_heads")?;
    // Absent fields have the class default, 12; without any config.json, the widths everyone uses.
    let num_heads = match (heads, &names.config) {
        (Some(heads), _) => heads,
        (None, Some(_)) => 12,
        (None, None) => standard_heads(embed_dim).ok_or_else(|| {
            let reason =
                format!("the head count is not in the weights: a config.json must give it (width {embed_dim})");
            Error::model(&names.file, reason)
        })?,
    };
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, num_heads);
    cfg.in_chans = in_chans;
    cfg.patch_size = (patch_h, patch_w);
    cfg.patch_bias = names.has(&at("embeddings.patch_embeddings.projection.bias"));
    cfg.dist_token = names.has(&at("embeddings.distillation_token"));
    cfg.norm_eps = match names.field("layer_norm_eps") {
        Some(eps) => eps.as_f64().ok_or_else(|| names.config_error(format!("`layer_norm_eps` is {eps}")))? as f32,
        None => 1e-12,
    };
    if let Some(act) = names.field("hidden_act") {
        cfg.act = act
            .as_str()
            .and_then(activation)
            .ok_or_else(|| names.config_error(format!("hidden_act {act} is not supported")))?;
    }
    let block = Block::new(names, 0);
    cfg.qkv_bias = names.has(&block.name("attn.q.bias"));
    cfg.mlp_hidden = match names.shape(&block.name("mlp.fc1.bias")) {
        Some(&[hidden]) => hidden,
        _ => names.size_field("intermediate_size")?.unwrap_or(4 * embed_dim),
    };
    cfg.pool = PoolKind::Token(0);
    cfg.pos_prefix = cfg.prefix_tokens();
    cfg.head = match (names.has("classifier.weight"), names.has("cls_classifier.weight")) {
        (true, _) => Head::Linear,
        (false, true) => Head::Distilled,
        (false, false) => Head::None,
    };
    let head = if cfg.head == Head::Distilled { "cls_classifier.weight" } else { "classifier.weight" };
    cfg.num_classes = names.shape(head).map_or(0, |shape| shape[0]);
    if cfg.head == Head::None {
        cfg.pre_logits = names.shape(&at("pooler.dense.weight")).map(|shape| shape[0]);
        let act = names.field("pooler_act").and_then(Value::as_str).unwrap_or("tanh");
        if cfg.pre_logits.is_some() && act != "tanh" {
            return Err(names.config_error(format!("pooler_act `{act}` is not supported (tanh is)")));
        }
    }

    let table = names.expect(&at("embeddings.position_embeddings"), 3, FAMILY.name)?[1];
    let patches = table.saturating_sub(cfg.prefix_tokens());
    let configured = names.pair_field("image_size")?;
    cfg.img_size = match configured {
        Some(size) => size,
        None => {
            let (h, w) = super::names::grid(patches, None).ok_or_else(|| {
                Error::model(
                    &names.file,
                    format!("{patches} positions are no square: config.json must give image_size"),
                )
            })?;
            (h * patch_h, w * patch_w)
        }
    };
    if cfg.grid().0 * cfg.grid().1 != patches {
        let ((h, w), (gh, gw)) = (cfg.img_size, cfg.grid());
        let reason = format!("the position table is for {patches} patches, image_size {h}x{w} has {gh}x{gw}");
        return Err(Error::model(&names.file, reason));
    }
    Ok(cfg)
}

/// Names within one encoder layer, by generation.
struct Block {
    prefix: String,
    v5: bool,
}

impl Block {
    fn new(names: &Names, i: usize) -> Block {
        let base = base(names).unwrap_or("");
        let v5 = names.has(&format!("{base}layers.0.attention.q_proj.weight"));
        let list = if v5 { "layers" } else { "encoder.layer" };
        Block { prefix: format!("{base}{list}.{i}."), v5 }
    }

    /// The file's name for `attn.{q,k,v}`, `attn.proj`, `mlp.fc1`, `mlp.fc2`, `norm1` or `norm2`, with `.weight` or `.bias`.
    fn name(&self, part: &str) -> String {
        let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
        let own = match (part, self.v5) {
            ("norm1", _) => "layernorm_before",
            ("norm2", _) => "layernorm_after",
            ("attn.q", false) => "attention.attention.query",
            ("attn.k", false) => "attention.attention.key",
            ("attn.v", false) => "attention.attention.value",
            ("attn.proj", false) => "attention.output.dense",
            ("mlp.fc1", false) => "intermediate.dense",
            ("mlp.fc2", false) => "output.dense",
            ("attn.q", true) => "attention.q_proj",
            ("attn.k", true) => "attention.k_proj",
            ("attn.v", true) => "attention.v_proj",
            ("attn.proj", true) => "attention.o_proj",
            (other, _) => other,
        };
        format!("{}{own}.{kind}", self.prefix)
    }
}

fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let base = base(names).unwrap_or("");
    let d = cfg.embed_dim;
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let block = Block::new(names, i.parse().unwrap_or(0));
        return match part.strip_prefix("attn.qkv.") {
            Some(kind) => {
                let mut third = shape.to_vec();
                third[0] /= 3;
                ["q", "k", "v"].map(|which| Part::new(block.name(&format!("attn.{which}.{kind}")), &third)).to_vec()
            }
            None => vec![Part::new(block.name(part), shape)],
        };
    }
    let embeddings = |name: &str, shape: &[usize]| Part::new(format!("{base}embeddings.{name}"), shape);
    match canonical {
        "patch_embed.proj.weight" => {
            vec![Part::new(format!("{base}{CONV}"), &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
        }
        "patch_embed.proj.bias" => vec![embeddings("patch_embeddings.projection.bias", shape)],
        "prefix_tokens" => {
            let mut parts = vec![embeddings("cls_token", &[1, 1, d])];
            parts.extend(cfg.dist_token.then(|| embeddings("distillation_token", &[1, 1, d])));
            parts
        }
        "pos_embed" => vec![embeddings("position_embeddings", &[1, shape[0], d])],
        _ => {
            let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
            let own = match (part, cfg.head) {
                ("norm", _) => format!("{base}layernorm"),
                ("pre_logits.fc", _) => format!("{base}pooler.dense"),
                ("head", Head::Distilled) => "cls_classifier".to_owned(),
                ("head", _) => "classifier".to_owned(),
                ("head_dist", _) => "distillation_classifier".to_owned(),
                (other, _) => other.to_owned(),
            };
            vec![Part::new(format!("{own}.{kind}"), shape)]
        }
    }
}

/// Without a `preprocessor_config.json`: the class defaults of the model's own processor.
fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    let processor = match names.field("model_type").and_then(Value::as_str) {
        Some("deit") => "DeiTImageProcessor",
        _ => "ViTImageProcessor",
    };
    let (h, w) = cfg.img_size;
    let json = match processor {
        "DeiTImageProcessor" => {
            serde_json::json!({"image_processor_type": processor, "crop_size": {"height": h, "width": w}})
        }
        _ => serde_json::json!({"image_processor_type": processor, "size": {"height": h, "width": w}}),
    };
    transforms::hugging_face(&json).map_err(|reason| names.config_error(reason))
}
