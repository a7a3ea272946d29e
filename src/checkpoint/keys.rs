//! Keys of a configuration: each is used, known to be harmless, or refused. A key that nobody here reads may be an option that
//! changes numbers.

use serde_json::Value;

use super::names::Names;
use crate::error::Result;

/// What transformers' `PretrainedConfig` writes into every configuration, in any version from 3 to 5, and what the hub, trainers
/// and pipelines add: no number of a forward pass depends on it.
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

/// Keys that say which of transformers' other kinds of model it is: harmless while they are off.
const OFF: [&str; 3] = ["is_decoder", "is_encoder_decoder", "add_cross_attention"];

impl Names {
    /// Refuses the configuration's keys that are in none of the lists, unless they begin with `_` or hold nothing.
    pub fn only_known(&self, lists: &[&[&str]]) -> Result<()> {
        match &self.config {
            Some(config) => self.only_known_in("", config, lists),
            None => Ok(()),
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
            let known = key.starts_with('_') || lists.iter().any(|list| list.contains(&key.as_str()));
            let off = OFF.contains(&key.as_str()) && value == &Value::Bool(false);
            if known || off || is_empty(value) {
                continue;
            }
            let dot = if path.is_empty() { "" } else { "." };
            let shown: String = value.to_string().chars().take(60).collect();
            return Err(self.config_error(format!(
                "`{path}{dot}{key}` is {shown}, a key that is not known here: it may change the numbers; remove it if it does not"
            )));
        }
        Ok(())
    }
}

/// Whether a value states nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
