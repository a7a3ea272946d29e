//! Opens a model whose files are not on disk.

use std::io::{Read, Seek};

use super::tensors::Tensors;
use super::{Checkpoint, Size, files, json};
use crate::error::{Error, Result};

impl Checkpoint {
    /// Opens a model that is in memory: a `.safetensors` or `.npz` file's bytes, and the texts of its `config.json` (or
    /// `open_clip_config.json`) and `preprocessor_config.json`, where it has them. `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(
        name: &str,
        weights: Vec<u8>,
        config: Option<&str>,
        preprocessor: Option<&str>,
    ) -> Result<Checkpoint> {
        Checkpoint::from_texts(name, Tensors::from_bytes(name, weights)?, config, preprocessor)
    }

    /// As [`Checkpoint::from_bytes`], of weights that are read from a reader when they are needed.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_seekable(
        name: &str,
        weights: impl Read + Seek + Send + 'static,
        config: Option<&str>,
        preprocessor: Option<&str>,
    ) -> Result<Checkpoint> {
        Checkpoint::from_texts(name, Tensors::from_seekable(name, Box::new(weights))?, config, preprocessor)
    }

    fn from_texts(
        name: &str,
        tensors: Tensors,
        config: Option<&str>,
        preprocessor: Option<&str>,
    ) -> Result<Checkpoint> {
        let json = |file: &str, text: &str| {
            let file = format!("{name} ({file})");
            json::object(&file, json::parse(&file, text.as_bytes())?)
        };
        let config = config.map(|text| json("config.json", text)).transpose()?;
        let file = "preprocessor_config.json";
        let preprocessor = preprocessor.map(|text| json(file, text).map(|json| (format!("{name} ({file})"), json)));
        if let Some(sign) = files::adapted(&tensors) {
            return Err(Error::model(name, format!("{sign}, not a whole model: open the folder that it is in")));
        }
        Checkpoint::from_tensors(name, tensors, config, preprocessor.transpose()?, Size::Own)
    }
}
