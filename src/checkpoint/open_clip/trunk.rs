//! timm models wrapped by open_clip (`open_clip/timm_model.py`): the timm model (trunk), often with another pooling, followed by a projection.

use serde_json::{Value, json};

use super::{FAMILY, vision_cfg};
use crate::checkpoint::names::Names;
use crate::checkpoint::recipe::{Part, Recipe};
use crate::checkpoint::timm;
use crate::error::Result;
use crate::model::constructor::GlobalPool;
use crate::model::{Head, Pooling, VitConfig, arch};
use crate::ops::{Activation, PoolKind};

/// `timm_proj`: the projection that follows the trunk.
enum Proj {
    /// The trunk's own classifier, whose width is that of the embedding.
    Classifier,
    /// No projection: the pooled vector is the embedding.
    None,
    /// `head.proj`.
    Linear,
    /// `head.mlp`.
    Mlp,
}

fn proj(names: &Names, vision: &Value) -> Result<Proj> {
    Ok(match vision.get("timm_proj") {
        // Without a configuration of it: the dataclass's default.
        None => Proj::Linear,
        Some(Value::Null) => Proj::Classifier,
        Some(value) => match value.as_str() {
            Some("") => Proj::Classifier,
            Some("none") => Proj::None,
            Some("linear") => Proj::Linear,
            Some("mlp") => Proj::Mlp,
            _ => return Err(names.config_error(format!("`timm_proj` is {value}"))),
        },
    })
}

/// `timm_pool`; `None` if the trunk keeps its own pooling.
fn pool(names: &Names, vision: &Value) -> Result<Option<GlobalPool>> {
    let refused = |value: &Value| names.config_error(format!("`timm_pool` is {value}, which can't be run"));
    match vision.get("timm_pool") {
        None => Ok(Some(GlobalPool::Avg)),
        Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name.is_empty() => Ok(None),
        Some(value) => value.as_str().and_then(GlobalPool::named).map(Some).ok_or_else(|| refused(value)),
    }
}

/// The tensors of the trunk, with its configuration written as timm's.
fn own(names: &Names) -> Result<Names> {
    let mut config = json!({});
    if let Some(vision) = vision_cfg(names) {
        let name = vision.get("timm_model_name").and_then(Value::as_str).unwrap_or_default();
        if arch::arguments(name).is_none() {
            return Err(names.config_error(format!("timm_model_name `{name}` is not known here")));
        }
        config["architecture"] = name.into();
        // `timm_model_kwargs` is read by this crate only: arguments for a trunk that differs from its architecture.
        let mut args =
            vision.get("timm_model_kwargs").filter(|args| args.is_object()).cloned().unwrap_or_else(|| json!({}));
        args["img_size"] = vision.get("image_size").cloned().unwrap_or_else(|| 224.into());
        // Without a separate projection, open_clip makes the trunk with this pooling. With one, it makes the trunk first and changes the pooling afterwards.
        if matches!(proj(names, vision)?, Proj::Classifier | Proj::None) {
            if pool(names, vision)?.is_none() {
                return Err(names.config_error("`timm_pool` is empty: without pooling there is no embedding"));
            }
            args["global_pool"] = vision.get("timm_pool").cloned().unwrap_or_else(|| "avg".into());
        }
        config["model_args"] = args;
        if let Some(heads) = names.field("num_heads") {
            config["num_heads"] = heads.clone();
        }
    } else {
        let reason =
            "a wrapped timm model needs open_clip_config.json, because the tensors don't show which model it is";
        return Err(names.error(reason));
    }
    Ok(names.under("visual.trunk.").configured(Some(config)))
}

pub fn configure(names: &Names) -> Result<VitConfig> {
    let own = own(names)?;
    let vision = vision_cfg(names).cloned().unwrap_or_default();
    let mut cfg = timm::configure(&own)?;
    let bias = names.configured(Some(vision.clone())).bool_field("timm_proj_bias")?.unwrap_or(false);
    match proj(names, &vision)? {
        Proj::None => {}
        Proj::Classifier => {
            cfg.projection = Some(own.expect("head.weight", 2, FAMILY.name)?[0]);
            cfg.projection_bias = true;
        }
        Proj::Linear => {
            cfg.projection = Some(names.expect("visual.head.proj.weight", 2, FAMILY.name)?[0]);
            cfg.projection_bias = bias;
            reset_pool(&mut cfg, names, &vision)?;
        }
        Proj::Mlp => {
            cfg.pre_logits = Some(names.expect("visual.head.mlp.fc1.weight", 2, FAMILY.name)?[0]);
            cfg.pre_logits_act = Activation::Gelu;
            cfg.projection = Some(names.expect("visual.head.mlp.fc2.weight", 2, FAMILY.name)?[0]);
            cfg.projection_bias = bias;
            reset_pool(&mut cfg, names, &vision)?;
        }
    }
    if cfg.pool == Pooling::ClassAndDistillation && matches!(proj(names, &vision)?, Proj::Classifier) {
        return Err(names.config_error("a distilled trunk that uses its own heads as the projection is not supported"));
    }
    (cfg.head, cfg.num_classes) = (Head::None, 0);
    let model = names.configured(names.field("model_cfg").cloned());
    if let Some(width) = model.size_field("embed_dim")?.filter(|width| *width != cfg.pooled_dim()) {
        let reason = format!("`embed_dim` is {width}, the image tower ends in vectors of {}", cfg.pooled_dim());
        return Err(names.config_error(reason));
    }
    Ok(cfg)
}

/// timm's `reset_classifier(0, global_pool)`: changes the pooling, but keeps the norms that the constructor chose for the first pooling.
fn reset_pool(cfg: &mut VitConfig, names: &Names, vision: &Value) -> Result<()> {
    let Some(pool) = pool(names, vision)? else { return Ok(()) };
    // A distilled model always pools its two tokens, and its `global_pool` can only be `token`.
    if cfg.pool == Pooling::ClassAndDistillation {
        return match pool {
            GlobalPool::Token => Ok(()),
            _ => Err(names.config_error("`timm_pool` of a distilled trunk is not `token`")),
        };
    }
    let from = match cfg.pool {
        Pooling::Tokens(kind) if kind != PoolKind::Token(0) => kind.first(),
        Pooling::Attention(from) => from,
        _ => cfg.prefix_tokens(),
    };
    let kept = matches!(cfg.pool, Pooling::Attention(_));
    cfg.pool = match pool {
        GlobalPool::Token if !cfg.class_token => {
            return Err(names.config_error("`timm_pool` is `token`, and the trunk has no class token"));
        }
        GlobalPool::Token => Pooling::CLASS,
        GlobalPool::Avg => Pooling::Tokens(PoolKind::Mean(from)),
        GlobalPool::AvgMax => Pooling::Tokens(PoolKind::AvgMax(from)),
        GlobalPool::Max => Pooling::Tokens(PoolKind::Max(from)),
        GlobalPool::Map if kept => cfg.pool,
        GlobalPool::Map => {
            return Err(names.config_error("`timm_pool` is `map`, and the trunk has no attention pooling"));
        }
    };
    Ok(())
}

pub fn recipe(canonical: &str, shape: &[usize], cfg: &VitConfig, names: &Names) -> Recipe {
    let Ok(own) = own(names) else { return Vec::new() };
    let mlp = cfg.pre_logits.is_some();
    let kind = canonical.rsplit_once('.').map_or("", |(_, kind)| kind);
    if canonical.starts_with("pre_logits.fc.") {
        return vec![Part::new(format!("visual.head.mlp.fc1.{kind}"), shape)];
    }
    if canonical.starts_with("projection.") {
        let module = if names.has("visual.head.proj.weight") {
            "visual.head.proj"
        } else if mlp {
            "visual.head.mlp.fc2"
        } else {
            "visual.trunk.head"
        };
        return vec![Part::new(format!("{module}.{kind}"), shape)];
    }
    let mut parts = timm::recipe(canonical, shape, cfg, &own);
    parts.iter_mut().for_each(|part| part.tensor = own.whole(&part.tensor));
    parts
}
