//! The text towers of CLIP and SigLIP, beside their vision towers in files of the whole model.

use serde_json::{Value, json};

use super::clip::{FAMILY as CLIP, OWN_KEYS, in_layer, is_siglip};
use super::{KEYS, in_block};
use crate::checkpoint::keys;
use crate::checkpoint::names::Names;
use crate::checkpoint::recipe::{Part, Recipe};
use crate::checkpoint::text::{TextFamily, TextTower};
use crate::error::Result;
use crate::model::{TextConfig, TextPooling};
use crate::ops::Activation;
use crate::text::{Library, Settings};

const TOKENS: &str = "embeddings.token_embedding.weight";
const POSITIONS: &str = "embeddings.position_embedding.weight";

/// Keys of a text tower's configuration, besides those of the vision towers.
const TEXT_KEYS: [&str; 2] = ["max_position_embeddings", "projection_size"];

pub static TEXT: TextFamily = TextFamily {
    configure,
    recipe,
    owns: |name| {
        let own = name.starts_with("text_model.") || name == "text_projection.weight" || name.starts_with("logit_");
        own && !name.ends_with("embeddings.position_ids")
    },
};

fn own(names: &Names) -> Names {
    names.under("text_model.")
}

/// The text part of the configuration. In old files, `text_config_dict` overrides it (`CLIPConfig.__post_init__`).
fn text_config(names: &Names) -> Names {
    let mut nested = names.field("text_config").cloned().unwrap_or_else(|| json!({}));
    if let (Some(nested), Some(over)) =
        (nested.as_object_mut(), names.field("text_config_dict").and_then(Value::as_object))
    {
        nested.extend(over.clone());
    }
    names.configured(Some(nested))
}

fn configure(names: &Names) -> Result<Option<TextTower>> {
    let own = own(names);
    if !names.iter().any(|name| name.starts_with("text_model.")) {
        return Ok(None);
    }
    let tokens = own.expect(TOKENS, 2, CLIP.name)?;
    let (vocab_size, embed_dim) = (tokens[0], tokens[1]);
    let (siglip, config) = (is_siglip(names), text_config(names));
    let given = config.config.as_ref().unwrap_or(&Value::Null);
    config.only_known_in("text_config", given, &[&keys::TRANSFORMERS, &KEYS, &OWN_KEYS, &TEXT_KEYS])?;
    let context = own.expect(POSITIONS, 2, CLIP.name)?[0];
    config.agree("vocab_size", &own, TOKENS, 0)?;
    config.agree("hidden_size", &own, TOKENS, 1)?;
    config.agree("max_position_embeddings", &own, POSITIONS, 0)?;
    let fc1 = "encoder.layers.0.mlp.fc1.weight";
    config.agree("intermediate_size", &own, fc1, 0)?;
    // Without a configuration, heads are 64 wide, as in every published model. With one, the library's default holds.
    let default = match (&names.config, siglip) {
        (None, _) => (embed_dim / 64).max(1),
        (Some(_), true) => 12,
        (Some(_), false) => 8,
    };
    let num_heads = config.size_field("num_attention_heads")?.unwrap_or(default);
    config.even_heads(embed_dim, num_heads)?;
    let act = if siglip { Activation::GeluTanh } else { Activation::QuickGelu };
    let eps = config.number_field("layer_norm_eps")?.map_or(if siglip { 1e-6 } else { 1e-5 }, |eps| eps as f32);
    let pool = match (siglip, config.field("eos_token_id")) {
        (true, _) => TextPooling::Last,
        // Configurations from before transformers 4.31 say 2, which was not the end of a text. The library knows them by it.
        (false, Some(id)) if id == 2 => TextPooling::Highest,
        (false, Some(id)) => {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            TextPooling::EndOfText(number.ok_or_else(|| names.config_error(format!("`eos_token_id` is {id}")))?)
        }
        (false, None) if names.config.is_some() => TextPooling::EndOfText(49_407),
        (false, None) => TextPooling::Highest,
    };
    let head = if siglip { own.whole("head.weight") } else { "text_projection.weight".to_owned() };
    let projection = names.expect(&head, 2, CLIP.name)?[0];
    let config = TextConfig {
        vocab_size,
        context,
        embed_dim,
        depth: config.depth("num_hidden_layers", &own, "encoder.layers.")?,
        num_heads,
        mlp_hidden: own.expect(fc1, 2, CLIP.name)?[0],
        act: config.act_field("hidden_act")?.unwrap_or(act),
        norm_eps: eps,
        layer_scale: false,
        causal: !siglip,
        pool,
        projection: Some(projection),
        projection_bias: siglip,
        logit_bias: siglip,
    };
    let library = if siglip { Library::Siglip } else { Library::Clip };
    Ok(Some(TextTower { tokens: Settings { library, context, vocab_size }, config }))
}

fn recipe(canonical: &str, shape: &[usize], names: &Names) -> Recipe {
    let own = own(names);
    if let Some((i, part)) = canonical.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        return in_block(part, shape, |part| own.whole(&format!("encoder.layers.{i}.{}", in_layer(part))));
    }
    let (part, kind) = canonical.rsplit_once('.').unwrap_or((canonical, ""));
    let tensor = |name: &str| vec![Part::new(own.whole(name), shape)];
    match part {
        "token_embed" => tensor(TOKENS),
        "pos_embed" => tensor(POSITIONS),
        "norm" => tensor(&format!("final_layer_norm.{kind}")),
        "projection" if is_siglip(names) => tensor(&format!("head.{kind}")),
        "projection" => vec![Part::new("text_projection.weight", shape)],
        _ => vec![Part::new(canonical, shape)],
    }
}
