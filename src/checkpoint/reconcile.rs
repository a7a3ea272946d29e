//! Compares the configuration with the tensors: if both show a value, they must agree.
//!
//! Each family says for its keys which tensor and axis show the same value. A value that only one of them
//! shows is taken from there. If they disagree, it is an error, because either could be wrong.

use super::names::{Names, pair, size};
use crate::error::{Error, Result};

impl Names {
    /// Refuses a whole-number key of the configuration that differs from an axis of a tensor of `at`.
    ///
    /// Nothing is compared if the key or the tensor is absent.
    pub fn agree(&self, key: &str, at: &Names, tensor: &str, axis: usize) -> Result<()> {
        match self.size_field(key)? {
            Some(stated) => self.agree_on(key, stated, at, tensor, axis),
            None => Ok(()),
        }
    }

    /// The same for a key that is a number or a pair of height and width, against two axes.
    pub fn agree_pair(&self, key: &str, at: &Names, tensor: &str, axes: [usize; 2]) -> Result<()> {
        match self.pair_field(key)? {
            Some((h, w)) => {
                self.agree_on(key, h, at, tensor, axes[0])?;
                self.agree_on(key, w, at, tensor, axes[1])
            }
            None => Ok(()),
        }
    }

    /// Refuses a value that a key states and an axis of a tensor of `at` contradicts.
    pub fn agree_on(&self, key: &str, stated: usize, at: &Names, tensor: &str, axis: usize) -> Result<()> {
        match at.shape(tensor) {
            Some(shape) if shape.get(axis).is_some_and(|&found| found != stated) => {
                Err(self.contradiction(key, stated, at.whole(tensor), Some(shape.to_vec())))
            }
            _ => Ok(()),
        }
    }

    /// The number of blocks: those named `list{i}.…` in `at`, as many as the key states where it is there.
    ///
    /// A block that is stated and absent is an error that names one of its tensors; so is a block too many.
    pub fn depth(&self, key: &str, at: &Names, list: &str) -> Result<usize> {
        match self.size_field(key)? {
            Some(stated) => self.depth_of(key, stated, at, list),
            None => Ok(at.count(list)),
        }
    }

    /// The same for a depth that is stated.
    pub fn depth_of(&self, key: &str, stated: usize, at: &Names, list: &str) -> Result<usize> {
        let found = at.count(list);
        if stated == found || found == 0 {
            return Ok(found);
        }
        let first = at.whole(&format!("{list}0."));
        let of_block = |i: usize| at.whole(&format!("{list}{i}."));
        // Every block has a tensor for each tensor of the first block.
        let named = self.iter().find(|name| name.starts_with(&first)).unwrap_or(&first).to_owned();
        if stated > found {
            let missing = named.replacen(&first, &of_block(found), 1);
            return Err(self.contradiction(key, stated, missing, None));
        }
        let extra = of_block(stated);
        let name = self.iter().find(|name| name.starts_with(&extra)).unwrap_or(&extra).to_owned();
        let shape = self.shape_of(&name);
        Err(self.contradiction(key, stated, name, shape))
    }

    /// Refuses a number of classes, stated by `num_labels` or by the entries of `id2label`, that the head contradicts.
    pub fn agree_on_labels(&self, head: &str) -> Result<()> {
        self.agree("num_labels", self, head, 0)?;
        let Some(labels) = self.field("id2label") else { return Ok(()) };
        match labels.as_object().map(serde_json::Map::len).or(labels.as_array().map(Vec::len)) {
            Some(count) => self.agree_on("id2label", count, self, head, 0),
            None => Err(self.config_error(format!("`id2label` is {labels}"))),
        }
    }

    /// The error of a contradiction.
    pub fn contradiction(
        &self,
        key: &str,
        value: impl std::fmt::Display,
        tensor: String,
        shape: Option<Vec<usize>>,
    ) -> Error {
        let file = self.file.clone();
        Error::Contradiction { file, key: key.to_owned(), value: value.to_string(), tensor, shape }
    }

    /// An error if a tensor has an axis of size 0, except for those that `empty` allows. Other sizes are computed from these axes.
    pub fn no_empty_tensors(&self, empty: impl Fn(&str) -> bool) -> Result<()> {
        // A model without registers may have a register table with no rows.
        let may_be = |name: &str| name.ends_with("register_tokens") || name.ends_with("reg_token") || empty(name);
        match self.iter().find(|name| self.shape_of(name).is_some_and(|shape| shape.contains(&0)) && !may_be(name)) {
            None => Ok(()),
            Some(name) => {
                let shape = self.shape_of(name).unwrap_or_default();
                Err(self.error(format!("tensor `{}` has shape {shape:?}: it has no values", self.original(name))))
            }
        }
    }
}

/// A whole number, or a pair as [height, width], of a JSON value that `what` names.
pub fn number(names: &Names, what: &str, value: &serde_json::Value) -> Result<usize> {
    size(value).ok_or_else(|| names.config_error(format!("{what} is {value}")))
}

/// The same for height and width.
pub fn sides(names: &Names, what: &str, value: &serde_json::Value) -> Result<(usize, usize)> {
    pair(value).ok_or_else(|| names.config_error(format!("{what} is {value}")))
}
