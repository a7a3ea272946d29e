//! `adapter_config.json`, as PEFT writes it: what is read, what changes nothing, and what is refused by name.

use serde_json::{Map, Value};

use super::targets::{Numbers, Targets};
use crate::error::{Error, Result};

/// Keys that only training, initialisation or PEFT itself reads.
const INERT: [&str; 18] = [
    "auto_mapping",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    // PEFT turns it off for the layers that are merged here.
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "_commit_hash",
];

/// Keys that are read.
const READ: [&str; 16] = [
    "base_model_name_or_path",
    "alpha_pattern",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_bias",
    "modules_to_save",
    "r",
    "rank_pattern",
    "target_modules",
    "use_dora",
    "use_rslora",
    "megatron_config",
    "target_parameters",
];

/// Initial values that leave the base model's weights as they are. Others (PiSSA, OLoRA, CorDA, LoftQ, …) change them.
const INITIAL: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The base model of an adapter, as its configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseName {
    /// A path or a name on the hub.
    pub name: String,
    pub revision: Option<String>,
}

impl BaseName {
    /// Reads `base_model_name_or_path` and `revision`.
    pub fn read(file: &str, config: &Value) -> Result<BaseName> {
        let text = |key: &str| match &config[key] {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            other => Err(Error::config(file, format!("`{key}` is {other}, not a text"))),
        };
        let Some(name) = text("base_model_name_or_path")? else {
            let how = "write the path or the name of the adapter's base model into it";
            return Err(Error::config(file, format!("`base_model_name_or_path` is missing: {how}")));
        };
        Ok(BaseName { name, revision: text("revision")? })
    }

    /// The name on the hub, with the revision behind `@`.
    pub fn on_hub(&self) -> String {
        let name = ["hf-hub:", "hf_hub:"].iter().find_map(|start| self.name.strip_prefix(start));
        let name = name.unwrap_or(&self.name);
        self.revision.as_ref().map_or(name.to_owned(), |revision| format!("{name}@{revision}"))
    }
}

/// What an adapter's configuration says about its tensors.
pub struct LoraConfig {
    pub targets: Targets,
    /// Whether each output has a magnitude (DoRA).
    pub dora: bool,
    /// Whether the low-rank parts have biases.
    pub biased: bool,
    /// Whether the biases of the base model are stored too.
    pub stores_biases: bool,
    /// The class of the model that the adapter was made for.
    pub class: Option<String>,
    rank: f64,
    alpha: f64,
    /// Whether the scale is divided by the root of the rank.
    rooted: bool,
    ranks: Numbers,
    alphas: Numbers,
}

impl LoraConfig {
    /// # Errors
    /// [`Error::Config`] for another kind of adapter, for a key that is not known or whose option can't be merged, and for values
    /// that a key can't have.
    pub fn read(file: &str, config: &Value) -> Result<LoraConfig> {
        let fail = |reason: String| Error::config(file, reason);
        match &config["peft_type"] {
            Value::String(kind) if kind == "LORA" => {}
            Value::String(kind) => {
                return Err(fail(format!(
                    "the adapter is of type {kind} (`peft_type`): only those of type LORA are merged"
                )));
            }
            other => return Err(fail(format!("`peft_type` is {other}: this is not an adapter of PEFT"))),
        }
        config.as_object().map_or(Ok(()), only_known).map_err(fail)?;
        let flag = |key: &str| match &config[key] {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            other => Err(fail(format!("`{key}` is {other}, not true or false"))),
        };
        let number = |key: &str| match &config[key] {
            Value::Null => Ok(8.0),
            value => value.as_f64().ok_or_else(|| fail(format!("`{key}` is {value}, not a number"))),
        };
        let (dora, biased) = (flag("use_dora")?, flag("lora_bias")?);
        if dora && biased {
            return Err(fail("`use_dora` and `lora_bias` are both true, which PEFT does not have".to_owned()));
        }
        let stores_biases = match &config["bias"] {
            Value::Null => false,
            Value::String(which) if which == "none" => false,
            Value::String(which) if ["all", "lora_only"].contains(&which.as_str()) => true,
            other => return Err(fail(format!("`bias` is {other}, not \"none\", \"all\" or \"lora_only\""))),
        };
        Ok(LoraConfig {
            targets: Targets::read(config).map_err(fail)?,
            dora,
            biased,
            stores_biases,
            class: config["auto_mapping"]["base_model_class"].as_str().map(str::to_owned),
            rank: number("r")?,
            alpha: number("lora_alpha")?,
            rooted: flag("use_rslora")?,
            ranks: Numbers::read(config, "rank_pattern").map_err(fail)?,
            alphas: Numbers::read(config, "alpha_pattern").map_err(fail)?,
        })
    }

    /// The rank of a layer.
    pub fn rank(&self, module: &str) -> f64 {
        self.ranks.of(module).unwrap_or(self.rank)
    }

    /// The factor for the product of a layer's low-rank parts.
    pub fn scale(&self, module: &str) -> f32 {
        let (rank, alpha) = (self.rank(module), self.alphas.of(module).unwrap_or(self.alpha));
        (alpha / if self.rooted { rank.sqrt() } else { rank }) as f32
    }
}

/// An error for a key that may change the result and is not read. Keys whose option is off or empty are allowed.
fn only_known(config: &Map<String, Value>) -> std::result::Result<(), String> {
    for (key, value) in config {
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let known = match key.as_str() {
            "init_lora_weights" => {
                value == &Value::Bool(true) || value.as_str().is_some_and(|how| INITIAL.contains(&how))
            }
            "megatron_config" | "target_parameters" => false,
            key => INERT.contains(&key) || READ.contains(&key),
        };
        if !known && !off {
            let shown: String = value.to_string().chars().take(60).collect();
            return Err(format!("`{key}` is {shown}: adapters with this option can't be merged"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(more: Value) -> std::result::Result<LoraConfig, String> {
        let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q"]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        LoraConfig::read("a.json", &config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_scale_follows_from_rank_and_alpha() {
        assert_eq!(read(json!({})).unwrap().scale("q"), 2.0);
        assert_eq!(read(json!({"use_rslora": true})).unwrap().scale("q"), 4.0);
        let patterns = read(json!({"rank_pattern": {"l.0.q": 2}, "alpha_pattern": {"q": 3}})).unwrap();
        assert_eq!((patterns.rank("l.0.q"), patterns.scale("l.0.q"), patterns.scale("l.1.q")), (2.0, 1.5, 0.75));
    }

    #[test]
    fn what_cannot_be_merged_is_named() {
        for (more, want) in [
            (
                json!({"peft_type": "IA3"}),
                "the adapter is of type IA3 (`peft_type`): only those of type LORA are merged",
            ),
            (json!({"peft_type": null}), "this is not an adapter of PEFT"),
            (json!({"init_lora_weights": "pissa_niter_4"}), "`init_lora_weights` is \"pissa_niter_4\""),
            (json!({"layer_replication": [[0, 1]]}), "`layer_replication` is [[0,1]]"),
            (json!({"target_parameters": ["x"]}), "`target_parameters` is [\"x\"]"),
            (json!({"use_qalora": true}), "`use_qalora` is true: adapters with this option can't be merged"),
            (json!({"kasa_config": {"beta": 1}}), "`kasa_config` is "),
            (json!({"surprise": 1}), "`surprise` is 1"),
            (json!({"lora_alpha": "x"}), "`lora_alpha` is \"x\", not a number"),
            (json!({"use_dora": 1}), "`use_dora` is 1, not true or false"),
            (json!({"use_dora": true, "lora_bias": true}), "both true"),
            (json!({"bias": "some"}), "`bias` is \"some\""),
            (json!({"alpha_pattern": {"(": 1}}), "`alpha_pattern` has the pattern `(`"),
        ] {
            let error = read(more).map(|_| ()).unwrap_err();
            assert!(error.starts_with("a.json: ") && error.contains(want) && !error.contains('\n'), "{error}");
        }
        assert!(read(json!({"surprise": false, "eva_config": {"rho": 2}, "layer_replication": null})).is_ok());
    }

    #[test]
    fn a_base_has_a_name() {
        let named =
            |config| BaseName::read("a.json", &config).map(|base| base.on_hub()).map_err(|error| error.to_string());
        assert_eq!(named(json!({"base_model_name_or_path": "hf-hub:timm/x", "revision": "v1"})).unwrap(), "timm/x@v1");
        assert_eq!(named(json!({"base_model_name_or_path": "a/b", "revision": null})).unwrap(), "a/b");
        assert!(named(json!({})).unwrap_err().contains("`base_model_name_or_path` is missing"));
        assert!(named(json!({"base_model_name_or_path": 1})).unwrap_err().contains("not a text"));
    }
}
