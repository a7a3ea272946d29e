//! The tensor names, shapes and configuration of a checkpoint, with the queries that families need.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tensors::Tensors;
use crate::error::{Error, Result};
use crate::ops::Activation;

/// Names (without wrappers) and shapes, with the configuration beside them.
#[derive(Clone)]
pub struct Names {
    /// What messages call the checkpoint.
    pub file: String,
    /// `config.json`, if there is one.
    pub config: Option<serde_json::Value>,
    /// Prefix that is added to every name that is looked up.
    base: String,
    shapes: Arc<BTreeMap<String, Vec<usize>>>,
    /// From the name without common prefix to the name in the file.
    originals: Arc<BTreeMap<String, String>>,
}

impl Names {
    /// The names as they are; then, one after another, without a prefix that all of them share (`module.`, `timm_model.`,
    /// `teacher.backbone.`), removing one part up to a dot at a time. Training code and libraries add such prefixes.
    pub fn candidates(tensors: &Tensors, config: Option<serde_json::Value>) -> impl Iterator<Item = Names> {
        let first = tensors.shapes().map(|(name, _)| name).next().unwrap_or_default();
        let shared = move |end: usize| tensors.shapes().all(|(name, _)| name.starts_with(&first[..end]));
        let ends = first.match_indices('.').map(|(at, _)| at + 1).take_while(move |&end| shared(end));
        std::iter::once(0).chain(ends).map(move |end| Names::without(tensors, &first[..end], config.clone()))
    }

    /// The names without the prefix `wrapper`, which all of them have.
    fn without(tensors: &Tensors, wrapper: &str, config: Option<serde_json::Value>) -> Names {
        let (mut shapes, mut originals) = (BTreeMap::new(), BTreeMap::new());
        for (original, shape) in tensors.shapes() {
            let name = original.strip_prefix(wrapper).unwrap_or(original);
            shapes.insert(name.to_owned(), shape.to_vec());
            originals.insert(name.to_owned(), original.to_owned());
        }
        let (shapes, originals) = (Arc::new(shapes), Arc::new(originals));
        Names { file: tensors.name.clone(), config, base: String::new(), shapes, originals }
    }

    /// The same tensors, but looked up by the part of their names that follows `base`.
    #[must_use]
    pub fn under(&self, base: &str) -> Names {
        Names { base: format!("{}{base}", self.base), ..self.clone() }
    }

    /// The same tensors with another configuration.
    #[must_use]
    pub fn configured(&self, config: Option<serde_json::Value>) -> Names {
        Names { config, ..self.clone() }
    }

    /// The name in the file, from a whole name.
    pub fn original(&self, name: &str) -> String {
        self.originals.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Every whole name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    /// The whole name of what is called `name` here.
    pub fn whole(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    pub fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(&self.whole(name))
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(&self.whole(name)).map(Vec::as_slice)
    }

    /// The shape of a tensor by its whole name.
    pub fn shape_of(&self, name: &str) -> Option<Vec<usize>> {
        self.shapes.get(name).cloned()
    }

    /// Whether the name of any tensor ends like this. If the tensors of one block have an option, all blocks must have it; the
    /// error then names the block that lacks it.
    pub fn any(&self, ending: &str) -> bool {
        self.shapes
            .range(self.base.clone()..)
            .take_while(|(name, _)| name.starts_with(&self.base))
            .any(|(name, _)| name.ends_with(ending))
    }

    /// Size of a tensor's axis; 0 if the tensor or the axis is missing.
    pub fn axis(&self, name: &str, axis: usize) -> usize {
        self.shape(name).and_then(|shape| shape.get(axis)).copied().unwrap_or(0)
    }

    /// A tensor's shape, which must have `rank` axes.
    pub fn expect(&self, name: &str, rank: usize, family: &'static str) -> Result<&[usize]> {
        match self.shape(name) {
            Some(shape) if shape.len() == rank => Ok(shape),
            Some(shape) => Err(Error::WrongShape {
                tensor: self.whole(name),
                expected: vec![0; rank],
                found: shape.to_vec(),
                file: self.file.clone(),
            }),
            None => Err(Error::MissingTensor {
                tensor: self.whole(name),
                expected: vec![0; rank],
                family,
                file: self.file.clone(),
            }),
        }
    }

    /// The error that a tensor is missing.
    pub fn missing(&self, name: &str, family: &'static str) -> Error {
        Error::MissingTensor { tensor: self.whole(name), expected: Vec::new(), family, file: self.file.clone() }
    }

    /// An error about the weights.
    pub fn error(&self, reason: impl ToString) -> Error {
        Error::model(&self.file, reason.to_string())
    }

    /// How many consecutive `i` from 0 on have a tensor `prefix{i}.…`.
    pub fn count(&self, prefix: &str) -> usize {
        (0..)
            .take_while(|i| {
                let start = self.whole(&format!("{prefix}{i}."));
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

    /// A text field of `config.json`.
    pub fn text_field(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(serde_json::Value::as_str)
    }

    /// The class that transformers' configurations name first in `architectures`; empty where there is none.
    pub fn class(&self) -> &str {
        self.field("architectures").and_then(|all| all.get(0)?.as_str()).unwrap_or_default()
    }

    /// A field of `config.json` that is true or false.
    pub fn bool_field(&self, name: &str) -> Result<Option<bool>> {
        self.field(name)
            .map(|value| value.as_bool().ok_or_else(|| self.config_error(format!("`{name}` is {value}"))))
            .transpose()
    }

    /// A number field of `config.json`.
    pub fn number_field(&self, name: &str) -> Result<Option<f64>> {
        self.field(name)
            .map(|value| value.as_f64().ok_or_else(|| self.config_error(format!("`{name}` is {value}"))))
            .transpose()
    }

    /// An activation's name in `config.json`.
    pub fn act_field(&self, name: &str) -> Result<Option<Activation>> {
        let named = |value: &serde_json::Value| {
            let act = value.as_str().and_then(Activation::named);
            act.ok_or_else(|| self.config_error(format!("{name} {value} is not supported")))
        };
        self.field(name).map(named).transpose()
    }

    /// `num_heads` from `config.json`; otherwise the usual number of heads for this width.
    pub fn heads(&self, embed_dim: usize) -> Result<usize> {
        match self.size_field("num_heads")? {
            Some(heads) => Ok(heads),
            None => standard_heads(embed_dim).ok_or_else(|| self.no_heads(embed_dim)),
        }
    }

    /// Refuses a head count that doesn't divide the width.
    pub fn even_heads(&self, embed_dim: usize, num_heads: usize) -> Result<()> {
        if embed_dim.is_multiple_of(num_heads.max(1)) {
            return Ok(());
        }
        Err(self.config_error(format!("{num_heads} heads don't divide a width of {embed_dim}")))
    }

    /// The error for weights whose number of heads can't be found.
    pub fn no_heads(&self, embed_dim: usize) -> Error {
        let reason = "the number of heads can't be seen in the weights: write `num_heads` into a config.json";
        self.error(format!("{reason} (width {embed_dim})"))
    }
}

/// A JSON whole number that can be a size. It is limited, so that the product of two sizes can't overflow.
pub fn size(value: &serde_json::Value) -> Option<usize> {
    value.as_u64().and_then(|value| i32::try_from(value).ok()).and_then(|value| usize::try_from(value).ok())
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

/// Height and width of timm's `input_size`, `[C, H, W]`.
pub fn input_size(pretrained_cfg: &serde_json::Value) -> Option<(usize, usize)> {
    match &pretrained_cfg.get("input_size")?.as_array()?[..] {
        [_, h, w] => Some((size(h)?, size(w)?)),
        _ => None,
    }
}

/// The usual number of heads for the usual widths (D/64), for files without a configuration.
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
