//! Models on a device.

use js_sys::Function;
use vit_gpu::{Device, Error, Precision, Progress};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::thrown;
use crate::functions::Listener;
use crate::image::Image;
use crate::map::{Map, computed};
use crate::model::Model;

/// A model on a device. Calls wait for the device without holding up the worker.
#[wasm_bindgen]
pub struct Session(vit_gpu::Session);

#[wasm_bindgen]
impl Session {
    /// Puts a model on a device (`auto`, `gpu`, `cpu`, or `0` for the browser's adapter, whatever it is). `progress(done, of)` is
    /// told of the weights that were read.
    ///
    /// # Errors
    /// A `DeviceError`, or an `ArgumentError` for a device or precision that does not exist.
    pub async fn open(
        model: &Model,
        device: String,
        precision: String,
        progress: Function,
    ) -> Result<Session, JsValue> {
        let (model, listener) = (model.0.clone(), Listener::new(progress));
        let device: Device = device.parse().unwrap_or_default();
        let precision: Precision = precision.parse().map_err(thrown)?;
        let told = move |progress| {
            if let Progress::Weights { done, of } = progress {
                listener.tell(done, of);
            }
        };
        let builder = vit_gpu::Session::builder().device(device).precision(precision).on_progress(told);
        builder.build_async(model).await.map(Session).map_err(thrown)
    }

    /// The adapter's name, or `cpu`.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.0.device().to_owned()
    }

    /// Why the device is not the one a user would hope for, if so.
    #[wasm_bindgen(getter)]
    pub fn note(&self) -> Option<String> {
        self.0.note().map(str::to_owned)
    }

    /// The classes with the highest scores, as JSON: `[{"index", "label", "score"}]`.
    ///
    /// # Errors
    /// An `ImageError`, a `DeviceError`, or a `ModelError` for a model without classes.
    pub async fn classify(&self, image: &Image, top_k: usize) -> Result<String, JsValue> {
        let (session, images) = (self.0.clone(), [image.0.clone()]);
        let predictions = only(session.classify_async(&images, top_k).await)?;
        Ok(serde_json::to_string(&predictions).unwrap_or_default())
    }

    /// What the model's head computes for each class.
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub async fn logits(&self, image: &Image) -> Result<Vec<f32>, JsValue> {
        let (session, images) = (self.0.clone(), [image.0.clone()]);
        only(session.logits_async(&images).await)
    }

    /// The image's vector.
    ///
    /// # Errors
    /// An `ImageError` or a `DeviceError`.
    pub async fn embed(&self, image: &Image, normalize: bool) -> Result<Vec<f32>, JsValue> {
        let (session, images) = (self.0.clone(), [image.0.clone()]);
        let embedder = vit_gpu::Embedder::new(session).normalized(normalize);
        only(embedder.embed_async(&images).await)
    }

    /// A map of what the model looks at: `rollout`, `attention` of layer `number` (or the last), or `relevance` for class
    /// `number` (or the best). The shorter side of its pictures has `side` pixels or more.
    ///
    /// # Errors
    /// An `ImageError`, a `DeviceError`, an `ArgumentError` for a layer or a class that does not exist, or a `ModelError` for a
    /// model that has no such map.
    pub async fn attention(
        &self,
        image: &Image,
        method: String,
        number: Option<usize>,
        side: usize,
    ) -> Result<Map, JsValue> {
        let (session, image) = (self.0.clone(), image.0.clone());
        computed(&session, &image, &method, number, side).await.map_err(thrown)
    }
}

/// The result of the only image.
fn only<T>(results: Result<Vec<Result<T, Error>>, Error>) -> Result<T, JsValue> {
    results.and_then(|mut results| results.swap_remove(0)).map_err(thrown)
}
