//! ViT, DeiT, and the encoders of ViT-MAE and ViT-MSN.

use super::{CONV, KEYS, agree, by_processor, common, has_heads, heads, image_size, in_block};
use crate::checkpoint::names::Names;
use crate::checkpoint::positions::{Positions, Resample};
use crate::checkpoint::recipe::{Part, Recipe};
use crate::checkpoint::{Family, keys};
use crate::error::Result;
use crate::model::{Head, Pooling, VitConfig};
use crate::ops::Activation;
use crate::preprocess::Transform;

const TYPES: [&str; 4] = ["vit", "deit", "vit_mae", "vit_msn"];

/// Keys for ViT-MAE's decoder and training, which are not read.
const MAE_KEYS: [&str; 6] = [
    "decoder_num_attention_heads",
    "decoder_hidden_size",
    "decoder_num_hidden_layers",
    "decoder_intermediate_size",
    "mask_ratio",
    "norm_pix_loss",
];

pub static FAMILY: Family = Family {
    name: "huggingface-vit",
    detect: |names| !super::dinov2::is_dinov2(names) && base(names).is_some(),
    configure,
    recipe,
    positions: |_| Positions::square_on_request(Resample::Bicubic),
    ignorable: |name, cfg| {
        let classifies = cfg.head != Head::None;
        name.ends_with("embeddings.mask_token")
            || name.ends_with("embeddings.position_ids")
            // The decoder of MAE and of masked-image models is not used.
            || name.starts_with("decoder.")
            // If there is a classifier, the pooler is left over from pre-training: the classifier reads the class token directly.
            || (classifies && (name.starts_with("pooler.") || name.contains(".pooler.")))
    },
    own_keys: None,
    transform,
};

/// The prefix of the encoder's tensor names in this file; empty for a bare encoder.
fn base(names: &Names) -> Option<&'static str> {
    ["", "vit.", "deit."].into_iter().find(|base| names.has(&format!("{base}{CONV}")))
}

fn own(names: &Names) -> Names {
    names.under(base(names).unwrap_or(""))
}

fn configure(names: &Names) -> Result<VitConfig> {
    let own = own(names);
    let model_type = names.text_field("model_type");
    if let Some(kind) = model_type.filter(|kind| !TYPES.contains(kind)) {
        return Err(names.config_error(format!("model_type `{kind}` is not supported ({} are)", TYPES.join(", "))));
    }
    names.only_known(&[&keys::TRANSFORMERS, &KEYS, &MAE_KEYS])?;
    let conv = own.expect(CONV, 4, FAMILY.name)?;
    let (embed_dim, in_chans, patch_size) = (conv[0], conv[1], (conv[2], conv[3]));
    agree(names, &own, CONV)?;
    has_heads(names, FAMILY.name)?;
    names.agree_on_labels("classifier.weight")?;
    names.agree_on_labels("cls_classifier.weight")?;
    let (at, list) = Block::list(names);
    let depth = names.depth("num_hidden_layers", &at, list)?;
    let mut cfg = VitConfig::plain(1, 1, embed_dim, depth, heads(names, embed_dim)?);
    (cfg.in_chans, cfg.patch_size) = (in_chans, patch_size);
    cfg.dist_token = own.has("embeddings.distillation_token") || model_type == Some("deit");
    common(names, &mut cfg, if model_type == Some("vit_msn") { 1e-6 } else { 1e-12 })?;
    let block = Block::new(names, 0);
    cfg.qkv_bias = names.bool_field("qkv_bias")?.unwrap_or_else(|| names.has(&block.name("attn.q.bias")));
    cfg.mlp_hidden = names.expect(&block.name("mlp.fc1.weight"), 2, FAMILY.name)?[0];
    names.agree("intermediate_size", names, &block.name("mlp.fc1.weight"), 0)?;
    cfg.pool = Pooling::CLASS;
    cfg.pos_prefix = cfg.prefix_tokens();
    cfg.head = match (names.has("classifier.weight"), names.has("cls_classifier.weight")) {
        (true, _) => Head::Linear,
        (false, true) => Head::Distilled,
        (false, false) => Head::None,
    };
    cfg.num_classes = names.axis("classifier.weight", 0).max(names.axis("cls_classifier.weight", 0));
    if cfg.head == Head::None {
        cfg.pre_logits = own.shape("pooler.dense.weight").and_then(|shape| shape.first().copied());
        names.agree("pooler_output_size", &own, "pooler.dense.weight", 0)?;
        cfg.pre_logits_act = names.act_field("pooler_act")?.unwrap_or(Activation::Tanh);
    }
    let table = own.expect("embeddings.position_embeddings", 3, FAMILY.name)?[1];
    cfg.img_size = image_size(names, &cfg, table.saturating_sub(cfg.prefix_tokens()))?;
    Ok(cfg)
}

/// The tensor names within one encoder layer, which differ between versions of transformers.
struct Block {
    prefix: String,
    v5: bool,
}

impl Block {
    fn new(names: &Names, i: usize) -> Block {
        let (at, list) = Block::list(names);
        Block { prefix: at.whole(&format!("{list}{i}.")), v5: list == "layers." }
    }

    /// Where the encoder's layers are, and what their names begin with.
    fn list(names: &Names) -> (Names, &'static str) {
        let own = own(names);
        if own.any(".attention.q_proj.weight") && own.count("encoder.layer.") == 0 {
            return (own, "layers.");
        }
        // transformers 5 saves ViT-MSN's blocks without the prefix that everything else has.
        let bare = names.has("encoder.layer.0.layernorm_before.weight");
        (if bare { names.clone() } else { own }, "encoder.layer.")
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
    let own = own(names);
    let d = cfg.embed_dim;
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        let block = Block::new(names, i.parse().unwrap_or(0));
        return in_block(part, shape, |part| block.name(part));
    }
    let embeddings = |name: &str, shape: &[usize]| Part::new(own.whole(&format!("embeddings.{name}")), shape);
    match canonical {
        "patch_embed.proj.weight" => {
            vec![Part::new(own.whole(CONV), &[d, cfg.in_chans, cfg.patch_size.0, cfg.patch_size.1])]
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
            let whole = match (part, cfg.head) {
                ("norm", _) => own.whole("layernorm"),
                ("pre_logits.fc", _) => own.whole("pooler.dense"),
                ("head", Head::Distilled) => "cls_classifier".to_owned(),
                ("head", _) => "classifier".to_owned(),
                ("head_dist", _) => "distillation_classifier".to_owned(),
                (other, _) => other.to_owned(),
            };
            vec![Part::new(format!("{whole}.{kind}"), shape)]
        }
    }
}

/// Without a `preprocessor_config.json`: the class defaults of the model's own processor.
fn transform(names: &Names, cfg: &VitConfig) -> Result<Transform> {
    let deit = names.text_field("model_type") == Some("deit");
    by_processor(names, cfg, if deit { "DeiTImageProcessor" } else { "ViTImageProcessor" })
}
