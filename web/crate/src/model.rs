//! Models.

use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::thrown;
use crate::functions::Bytes;

/// A model, opened.
#[wasm_bindgen]
pub struct Model(pub(crate) vit_gpu::Model);

/// What an app may want to know of a model; `ModelInfo` in `../../src/protocol.ts`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    name: &'a str,
    family: &'a str,
    /// Height and width.
    image_size: (usize, usize),
    num_classes: usize,
    labels: Vec<Option<&'a str>>,
    embedding_dim: usize,
    depth: usize,
}

#[wasm_bindgen]
impl Model {
    /// The model within the package.
    ///
    /// # Errors
    /// None in a package that was made whole.
    pub fn bundled() -> Result<Model, JsValue> {
        vit_gpu::Model::bundled().map(Model).map_err(thrown)
    }

    /// Opens weights of `size` bytes, which `read(offset, length)` gives as a `Uint8Array`, with the texts of its configuration
    /// files, where it has them.
    ///
    /// # Errors
    /// A `ModelError`.
    pub fn open(
        name: &str,
        read: Function,
        size: f64,
        config: Option<String>,
        preprocessor: Option<String>,
    ) -> Result<Model, JsValue> {
        let weights = Bytes::new(read, size as u64);
        let opened = vit_gpu::Model::from_seekable(name, weights, config.as_deref(), preprocessor.as_deref());
        opened.map(Model).map_err(thrown)
    }

    /// What it is, as JSON.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> String {
        let model = &self.0;
        let num_classes = model.num_classes();
        let info = Info {
            name: model.name(),
            family: model.family(),
            image_size: model.image_size(),
            num_classes,
            labels: (0..num_classes).map(|index| model.label(index)).collect(),
            embedding_dim: model.embedding_dim(),
            depth: model.depth(),
        };
        serde_json::to_string(&info).unwrap_or_default()
    }
}
