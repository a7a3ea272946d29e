//! The text towers of OpenAI's CLIP and of open_clip's own class (`TextTransformer` in `open_clip/transformer.py`).

use serde_json::{Value, json};

use super::{FAMILY, activation, in_block, norm_eps};
use crate::checkpoint::names::Names;
use crate::checkpoint::recipe::{Part, Recipe};
use crate::checkpoint::text::{TextFamily, TextTower};
use crate::error::Result;
use crate::model::{TextConfig, TextPooling};
use crate::text::{Clean, Library, Settings};

const TOKENS: &str = "token_embedding.weight";
const POSITIONS: &str = "positional_embedding";

/// Keys of `text_cfg` that are read here, or are only used in training.
const TEXT_KEYS: [&str; 21] = [
    "context_length",
    "vocab_size",
    "hf_tokenizer_name",
    "tokenizer_mode",
    "tokenizer_kwargs",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "ls_init_value",
    "pad_id",
    "eos_id",
    "no_causal_mask",
    "final_ln_after_pool",
    "pool_type",
    "proj_bias",
    "proj_type",
    "output_tokens",
    "act_kwargs",
    "norm_kwargs",
    "block_type",
];

/// Keys of options that are not supported. They are allowed if they are `false`.
const OFF_KEYS: [&str; 7] =
    ["embed_cls", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"];

pub static TEXT: TextFamily = TextFamily {
    configure,
    recipe,
    owns: |name| {
        let others = ["visual.", "input_resolution", "context_length", "vocab_size"];
        !others.iter().any(|other| name.starts_with(other)) && !name.ends_with("attn_mask")
    },
};

/// Newer models have their text tower under `text.`; CLIP's own files have no prefix.
fn own(names: &Names) -> Names {
    names.under(if names.iter().any(|name| name.starts_with("text.")) { "text." } else { "" })
}

/// `model_cfg.text_cfg`, checked for what it may hold.
fn text_cfg(names: &Names) -> Result<Names> {
    let model = names.field("model_cfg");
    let mut given = model.and_then(|model| model.get("text_cfg")).cloned().unwrap_or_else(|| json!({}));
    if let Some(given) = given.as_object_mut() {
        given.retain(|key, value| !(OFF_KEYS.contains(&key.as_str()) && value == &Value::Bool(false)));
    }
    if let Some(name) = given.get("hf_model_name").filter(|name| !name.is_null()) {
        return Err(names.config_error(format!("its text half is {name}, a model of another kind, which can't be run")));
    }
    names.only_known_in("model_cfg.text_cfg", &given, &[&TEXT_KEYS])?;
    Ok(names.configured(Some(given)))
}

fn configure(names: &Names) -> Result<Option<TextTower>> {
    let own = own(names);
    let config = text_cfg(names)?;
    let starts = ["text.", "transformer.", "token_embedding.", "positional_embedding", "ln_final."];
    // A visual tower alone may have no prefix, but then it has no text tower beside it.
    if names.has("conv1.weight") || !names.iter().any(|name| starts.iter().any(|start| name.starts_with(start))) {
        return Ok(None);
    }
    let tokens = own.expect(TOKENS, 2, FAMILY.name)?;
    let (vocab_size, embed_dim) = (tokens[0], tokens[1]);
    let context = own.expect(POSITIONS, 2, FAMILY.name)?[0];
    config.agree("vocab_size", &own, TOKENS, 0)?;
    config.agree("width", &own, TOKENS, 1)?;
    config.agree("context_length", &own, POSITIONS, 0)?;
    // Files without a configuration are OpenAI's, whose heads are 64 wide.
    let default = if names.field("model_cfg").is_some() { 8 } else { (embed_dim / 64).max(1) };
    let num_heads = config.size_field("heads")?.unwrap_or(default);
    config.even_heads(embed_dim, num_heads)?;
    let fc = "transformer.resblocks.0.mlp.c_fc.weight";
    let mlp_hidden = own.expect(fc, 2, FAMILY.name)?[0];
    if let Some(ratio) = config.number_field("mlp_ratio")? {
        config.agree_on("mlp_ratio", (embed_dim as f64 * ratio) as usize, &own, fc, 0)?;
    }
    let causal = !config.bool_field("no_causal_mask")?.unwrap_or(false);
    let pool = match config.text_field("pool_type").unwrap_or("argmax") {
        "argmax" => TextPooling::Highest,
        "eos" => TextPooling::EndOfText(config.size_field("eos_id")?.unwrap_or(2) as u32),
        "last" => TextPooling::Last,
        "first" => TextPooling::First,
        other => return Err(names.config_error(format!("pool_type `{other}` of the text half can't be run"))),
    };
    let linear = own.has("text_projection.weight");
    let projection = match config.text_field("proj_type").unwrap_or("linear") {
        "linear" if linear => Some(own.expect("text_projection.weight", 2, FAMILY.name)?[0]),
        "linear" => Some(own.expect("text_projection", 2, FAMILY.name)?[1]),
        "none" => None,
        other => return Err(names.config_error(format!("`proj_type` is `{other}`"))),
    };
    let config = TextConfig {
        vocab_size,
        context,
        embed_dim,
        depth: config.depth("layers", &own, "transformer.resblocks.")?,
        num_heads,
        mlp_hidden,
        act: activation(names, &config)?,
        norm_eps: norm_eps(&config, "text_cfg")?,
        layer_scale: own.has("transformer.resblocks.0.ls_1.gamma"),
        causal,
        pool,
        projection,
        projection_bias: linear,
        logit_bias: names.field("model_cfg").map_or_else(
            || names.has("logit_bias"),
            |model| model.get("init_logit_bias").is_some_and(|bias| !bias.is_null()),
        ),
    };
    let library = library(names)?;
    Ok(Some(TextTower { tokens: Settings { library, context, vocab_size }, config }))
}

/// Whose tokenizer it is, as `open_clip.get_tokenizer` decides.
fn library(names: &Names) -> Result<Library> {
    let config = text_cfg(names)?;
    let kwargs = config.field("tokenizer_kwargs").cloned().unwrap_or_else(|| json!({}));
    let files = config.text_field("hf_tokenizer_name").is_some_and(|name| !name.is_empty());
    let known: &[&str] = if files { &["clean", "strip_sep_token"] } else { &["clean"] };
    names.only_known_in("text_cfg.tokenizer_kwargs", &kwargs, &[known])?;
    if let Some(mode) = config.text_field("tokenizer_mode").filter(|mode| !mode.is_empty()) {
        return Err(names.config_error(format!("`tokenizer_mode` is `{mode}`")));
    }
    let clean = match kwargs.get("clean") {
        None => {
            if files {
                Clean::Whitespace
            } else {
                Clean::Lower
            }
        }
        Some(name) => {
            let known = name.as_str().and_then(Clean::named);
            known.ok_or_else(|| names.config_error(format!("`tokenizer_kwargs.clean` is {name}")))?
        }
    };
    let strip_sep = names.configured(Some(kwargs)).bool_field("strip_sep_token")?.unwrap_or(false);
    Ok(if files { Library::OpenClipFiles { clean, strip_sep } } else { Library::OpenClip(clean) })
}

fn recipe(canonical: &str, shape: &[usize], names: &Names) -> Recipe {
    let own = own(names);
    let tensor = |name: &str| vec![Part::new(own.whole(name), shape)];
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        return tensor(&in_block(i, part));
    }
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    match part {
        "token_embed" => tensor(TOKENS),
        "pos_embed" => tensor(POSITIONS),
        "norm" => tensor(&format!("ln_final.{kind}")),
        "projection" if own.has("text_projection.weight") => tensor(&format!("text_projection.{kind}")),
        // The file has the transposed matrix, because open_clip computes x·text_projection.
        "projection" => {
            let turned = [shape[1], shape[0]];
            vec![Part::new(own.whole("text_projection"), &turned).permuted(&turned, &[1, 0])]
        }
        _ => tensor(canonical),
    }
}
