//! The files of a tokenizer beside a model's weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// What `tokenizer_config.json` says, as far as it matters here.
pub struct Config {
    /// transformers' class, without `Fast`.
    pub class: Option<String>,
    /// The token that fills up short texts.
    pub pad: Option<String>,
    /// The token at the end of a text.
    pub end: Option<String>,
    /// Whether short texts are filled up at their beginning.
    pub pads_left: bool,
    /// The most tokens of a text, special ones included.
    pub max_length: Option<usize>,
    /// Whether letters become small; true if it does not say.
    pub lower: bool,
    /// Whether padding is masked: whether `attention_mask` is among the model's inputs, which it is if they are not listed.
    pub masked: bool,
}

/// Reads a file of the folder; `None` if there is none.
///
/// # Errors
/// The path, and why it can't be read.
pub fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, (PathBuf, std::io::Error)> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err((path, error)),
    }
}

impl Config {
    /// Reads `tokenizer_config.json` and `special_tokens_map.json`, whose texts are given where the files exist.
    ///
    /// # Errors
    /// A message about what is not JSON.
    pub fn parse(config: Option<&[u8]>, special: Option<&[u8]>) -> Result<Config, String> {
        let json = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            None => Ok(Value::Null),
        };
        let (config, special) = (json(config)?, json(special)?);
        // A token is a text, or an object with its text.
        let token = |name: &str| {
            let given =
                [&config, &special].into_iter().find_map(|json| json.get(name).filter(|value| !value.is_null()));
            given.and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str())).map(str::to_owned)
        };
        let class = config.get("tokenizer_class").and_then(Value::as_str);
        let inputs = config.get("model_input_names").and_then(Value::as_array);
        Ok(Config {
            class: class.map(|class| class.strip_suffix("Fast").unwrap_or(class).to_owned()),
            pad: token("pad_token"),
            end: token("eos_token"),
            pads_left: config.get("padding_side").and_then(Value::as_str) == Some("left"),
            // Some files give a number of 31 digits, which means that there is no limit.
            max_length: config.get("model_max_length").and_then(Value::as_u64).map(|length| length as usize),
            lower: config.get("do_lower_case").and_then(Value::as_bool).unwrap_or(true),
            masked: inputs.is_none_or(|inputs| inputs.iter().any(|name| name == "attention_mask")),
        })
    }
}
