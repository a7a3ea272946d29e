//! Texts as Python gives them.

use pyo3::prelude::*;

/// One text, or several.
#[derive(FromPyObject)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub fn list(self) -> Vec<String> {
        match self {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        }
    }
}
