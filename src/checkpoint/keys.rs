//! The known keys of configurations. A key is either read, or known to change nothing, or refused, because an unknown key may be an
//! option that changes the result.

use serde_json::Value;

use super::names::Names;
use crate::error::Result;
use crate::model::VitConfig;

/// What transformers' `PretrainedConfig` writes into every configuration, in any version from 3 to 5, and what the hub, trainers
/// and pipelines add. None of these keys changes the result of a forward pass.
pub const TRANSFORMERS: [&str; 89] = [
    "architectures",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "drop_path_rate",
    "dropout",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_stride",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "label2id",
    "label_descriptions",
    "length_penalty",
    "license",
    "loss_type",
    "max_length",
    "min_length",
    "model_type",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "function_to_apply",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "return_unused_kwargs",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
    "output_past",
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_last_dropout",
    "summary_proj_to_labels",
    "summary_first_dropout",
    "xla_device",
    "n_gpu",
    "image_mean",
    "image_std",
    "library_name",
    "pipeline_tag",
    "tags",
    "base_model",
    "datasets",
];

/// Keys of a `config.json` that the user writes (`docs/your-own-vit.md`). They are allowed for every family whose library writes no configuration.
pub const OWN: [&str; 26] = [
    "model_type",
    "family",
    "num_heads",
    "img_size",
    "image_size",
    "act",
    "eps",
    "embed_dim",
    "depth",
    "in_chans",
    "patch_size",
    "num_classes",
    "num_labels",
    "label_names",
    "label_descriptions",
    "labels",
    "id2label",
    "label2id",
    "problem_type",
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "architectures",
    "license",
];

/// What people write about a model, anywhere in a configuration.
const ABOUT: [&str; 24] = [
    "name",
    "title",
    "description",
    "comment",
    "comments",
    "notes",
    "author",
    "authors",
    "citation",
    "homepage",
    "repository",
    "url",
    "date",
    "created",
    "license",
    "tags",
    "language",
    "metrics",
    "accuracy",
    "test_accuracy",
    "val_accuracy",
    "epoch",
    "epochs",
    "training",
];

/// Keys whose value must be a text. Another value is refused, because it would be read as if the key were missing.
const TEXTS: [&str; 12] = [
    "model_type",
    "family",
    "architecture",
    "timm_model_name",
    "global_pool",
    "pool_type",
    "variant",
    "version",
    "transformers_version",
    "image_processor_type",
    "feature_extractor_type",
    "converted_from",
];

/// Keys for other kinds of transformers' models. They are allowed if they are `false`.
const OFF: [&str; 3] = ["is_decoder", "is_encoder_decoder", "add_cross_attention"];

impl Names {
    /// An error if the configuration has a key that is in none of the lists. Keys that begin with `_` and keys with an empty value are allowed.
    pub fn only_known(&self, lists: &[&[&str]]) -> Result<()> {
        match &self.config {
            Some(config) => self.only_known_in("", config, lists),
            None => Ok(()),
        }
    }

    /// Checks a `config.json` that the user wrote: every key must be known to the family, and sizes must be those of the tensors.
    pub fn own_config_agrees(&self, cfg: &VitConfig, more: &[&str]) -> Result<()> {
        self.only_known(&[&OWN, more])?;
        let sizes = [
            ("embed_dim", cfg.embed_dim),
            ("depth", cfg.depth),
            ("num_heads", cfg.num_heads),
            ("in_chans", cfg.in_chans),
            ("num_classes", cfg.num_classes),
            ("num_labels", cfg.num_classes),
        ];
        for (key, built) in sizes {
            if let Some(stated) = self.size_field(key)?.filter(|stated| *stated != built) {
                return Err(self.config_error(format!("`{key}` is {stated}, but the tensors have {built}")));
            }
        }
        match self.pair_field("patch_size")? {
            Some((h, w)) if (h, w) != cfg.patch_size => {
                let (own_h, own_w) = cfg.patch_size;
                Err(self.config_error(format!("`patch_size` is {h}x{w}, the tensors have {own_h}x{own_w}")))
            }
            _ => Ok(()),
        }
    }

    /// The same for an object within the configuration, called `path` in messages.
    pub fn only_known_in(&self, path: &str, object: &Value, lists: &[&[&str]]) -> Result<()> {
        let Some(object) = object.as_object() else {
            return Err(
                self.config_error(format!("{} is {object}, not an object", if path.is_empty() { "it" } else { path }))
            );
        };
        for (key, value) in object {
            if TEXTS.contains(&key.as_str()) && !(value.is_string() || value.is_null()) {
                return Err(self.config_error(format!("`{}` is {}, not a text", full(path, key), shown(value))));
            }
            let texts = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
            if key == "architectures" && !(texts(value) || value.is_null()) {
                return Err(self.config_error(format!(
                    "`{}` is {}, not a list of texts",
                    full(path, key),
                    shown(value)
                )));
            }
            let among = |list: &[&str]| list.contains(&key.as_str());
            let known = key.starts_with('_') || among(&ABOUT) || lists.iter().any(|list| among(list));
            let off = OFF.contains(&key.as_str()) && value == &Value::Bool(false);
            if known || off || is_empty(value) {
                continue;
            }
            let (key, shown) = (full(path, key), shown(value));
            return Err(self.config_error(format!(
                "`{key}` is {shown}, but this key is not known and may change the result; remove it if it does not"
            )));
        }
        Ok(())
    }
}

/// A key with the path of the object it stands in.
fn full(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The beginning of a value, for a message.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// Whether a value is empty: null, or a text, list or object without content.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
