//! The tensors of a checkpoint as its family names them, with the questions families ask.

use std::collections::BTreeMap;

use super::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::ops::Activation;

/// Wrappers that training code leaves in front of names.
const PREFIXES: [&str; 4] = ["module.", "_orig_mod.", "model.", "state_dict."];

/// Names (without wrappers) and shapes, with the configuration beside them.
pub struct Names {
    /// What messages call the checkpoint.
    pub file: String,
    /// `config.json`, if there is one.
    pub config: Option<serde_json::Value>,
    shapes: BTreeMap<String, Vec<usize>>,
    /// Name without wrappers to name in the file.
    originals: BTreeMap<String, String>,
}

impl Names {
    pub fn new(tensors: &Tensors, config: Option<serde_json::Value>) -> Names {
        let mut names =
            Names { file: tensors.name.clone(), config, shapes: BTreeMap::new(), originals: BTreeMap::new() };
        for (original, shape) in tensors.shapes() {
            let mut name = original;
            while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
                name = rest;
            }
            names.shapes.insert(name.to_owned(), shape.to_vec());
            names.originals.insert(name.to_owned(), original.to_owned());
        }
        names
    }

    /// The name in the file.
    pub fn original(&self, name: &str) -> String {
        self.originals.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Every name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// A tensor's shape, which must have `rank` axes.
    pub fn expect(&self, name: &str, rank: usize, family: &'static str) -> Result<&[usize]> {
        match self.shape(name) {
            Some(shape) if shape.len() == rank => Ok(shape),
            Some(shape) => Err(Error::WrongShape {
                tensor: name.into(),
                expected: vec![0; rank],
                found: shape.to_vec(),
                file: self.file.clone(),
            }),
            None => Err(Error::MissingTensor {
                tensor: name.into(),
                expected: vec![0; rank],
                family,
                file: self.file.clone(),
            }),
        }
    }

    /// How many consecutive `i` from 0 on have a tensor `prefix{i}.…`.
    pub fn count(&self, prefix: &str) -> usize {
        (0..)
            .take_while(|i| {
                let start = format!("{prefix}{i}.");
                self.shapes.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(&start))
            })
            .count()
    }

    /// An error about `config.json`.
    pub fn config_error(&self, reason: impl ToString) -> Error {
        Error::config(format!("{} (config.json)", self.file), reason)
    }

    /// A field of `config.json`, `None` where it is absent or null.
    pub fn field(&self, name: &str) -> Option<&serde_json::Value> {
        self.config.as_ref().and_then(|config| config.get(name)).filter(|value| !value.is_null())
    }

    /// A whole-number field of `config.json`.
    pub fn size_field(&self, name: &str) -> Result<Option<usize>> {
        self.field(name)
            .map(|value| size(value).ok_or_else(|| self.config_error(format!("`{name}` is {value}"))))
            .transpose()
    }

    /// A number, or a pair as [height, width].
    pub fn pair_field(&self, name: &str) -> Result<Option<(usize, usize)>> {
        self.field(name)
            .map(|value| pair(value).ok_or_else(|| self.config_error(format!("`{name}` is {value}"))))
            .transpose()
    }
}

/// A JSON whole number.
pub fn size(value: &serde_json::Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

/// A JSON number or pair of numbers as height and width.
pub fn pair(value: &serde_json::Value) -> Option<(usize, usize)> {
    match value.as_array().map(Vec::as_slice) {
        Some([h, w]) => Some((size(h)?, size(w)?)),
        Some([both]) => size(both).map(|n| (n, n)),
        Some(_) => None,
        None => size(value).map(|n| (n, n)),
    }
}

/// An activation by the name that timm or Hugging Face gives it.
pub fn activation(name: &str) -> Option<Activation> {
    Some(match name {
        "gelu" | "gelu_erf" => Activation::Gelu,
        "gelu_tanh" | "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "quick_gelu" | "quickgelu" => Activation::QuickGelu,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        _ => return None,
    })
}

/// Heads of the widths everyone uses, for files that come without a configuration: D/64.
pub fn standard_heads(embed_dim: usize) -> Option<usize> {
    [(192, 3), (384, 6), (768, 12), (1024, 16), (1280, 16)].into_iter().find(|(d, _)| *d == embed_dim).map(|(_, h)| h)
}

/// Height and width of a square grid of `patches`, or the configured grid if it has as many.
pub fn grid(patches: usize, configured: Option<(usize, usize)>) -> Option<(usize, usize)> {
    if let Some((h, w)) = configured.filter(|(h, w)| h * w == patches) {
        return Some((h, w));
    }
    let side = patches.isqrt();
    (side > 0 && side * side == patches).then_some((side, side))
}
