//! The session that an app holds.

use std::ops::Range;
use std::sync::Arc;

use super::engine::Engine;
use super::model::Model;
use super::output::Outputs;
use super::tasks::Each;
use super::unblock::unblock;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::executor::{OpTime, Peak, Startup, Tuning, wait};
use crate::graph::Precision;
use crate::labels::Prediction;
use crate::model::Batch;
use crate::ops::Cost;
use crate::preprocess::{Image, Pixels};

/// A model on a device.
///
/// Clones share everything. Threads may share one, a pool's threads too: their calls take turns on the device. Methods whose
/// names end in `_async` never block the thread that awaits them; all others do.
///
/// In a browser, where nothing may block and nothing runs beside, `_async` methods do their work where they are awaited, and the
/// others fail with [`Error::Blocking`](crate::Error::Blocking) unless the session is on the processor.
///
/// Weights are read and, on a GPU, kernels compiled at the first call, which therefore takes longer.
#[derive(Clone)]
pub struct Session(Arc<Engine>);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (model, device) = (self.model().name(), self.device());
        f.debug_struct("Session").field("model", &model).field("device", &device).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn of(engine: Engine) -> Session {
        Session(Arc::new(engine))
    }

    #[cfg(any(feature = "insight", feature = "text"))]
    pub(crate) fn engine(&self) -> &Engine {
        &self.0
    }

    /// The model that the session runs.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// The adapter's name, or `cpu`.
    #[must_use]
    pub fn device(&self) -> &str {
        self.0.executor.name()
    }

    /// What weights and activations are stored in.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// A sentence for the user if the device is not the one they may expect, for example if no GPU is used.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// The `top_k` classes of each image with the highest scores, best first; all classes where there are fewer.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) without images or for `top_k` 0; [`Error::NoHead`](crate::Error::NoHead);
    /// the first image's error that has no result; errors of the device.
    pub fn classify(&self, images: &[Image], top_k: usize) -> Result<Vec<Vec<Prediction>>> {
        self.classify_each(images, top_k)?.into_iter().collect()
    }

    /// As [`Session::classify`], where an image without a result fails alone.
    ///
    /// # Errors
    /// As [`Session::classify`], for what stops all images.
    pub fn classify_each(&self, images: &[Image], top_k: usize) -> Result<Each<Vec<Prediction>>> {
        wait(self.0.classify_images(images, top_k))
    }

    /// As [`Session::classify_each`], without blocking.
    ///
    /// # Errors
    /// As [`Session::classify`], for what stops all images.
    pub async fn classify_async(&self, images: &[Image], top_k: usize) -> Result<Each<Vec<Prediction>>> {
        let (session, images) = (self.clone(), images.to_vec());
        unblock(async move || session.0.classify_images(&images, top_k).await).await
    }

    /// The logits of each image, [`Model::num_classes`] values, where an image without a result fails alone.
    ///
    /// # Errors
    /// As [`Session::classify`], for what stops all images.
    pub fn logits_each(&self, images: &[Image]) -> Result<Each<Vec<f32>>> {
        wait(self.0.logits_images(images))
    }

    /// As [`Session::logits_each`], without blocking.
    ///
    /// # Errors
    /// As [`Session::classify`], for what stops all images.
    pub async fn logits_async(&self, images: &[Image]) -> Result<Each<Vec<f32>>> {
        let (session, images) = (self.clone(), images.to_vec());
        unblock(async move || session.0.logits_images(&images).await).await
    }

    /// The pooled vector of each image: what the head is given, or the pooler's or projection's output;
    /// [`Model::embedding_dim`] values.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) without images; the first image's error that has no result; errors of the
    /// device.
    pub fn embed(&self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        self.embed_each(images)?.into_iter().collect()
    }

    /// As [`Session::embed`], where an image without a result fails alone.
    ///
    /// # Errors
    /// As [`Session::embed`], for what stops all images.
    pub fn embed_each(&self, images: &[Image]) -> Result<Each<Vec<f32>>> {
        wait(self.0.embed_images(images))
    }

    /// As [`Session::embed_each`], without blocking.
    ///
    /// # Errors
    /// As [`Session::embed`], for what stops all images.
    pub async fn embed_async(&self, images: &[Image]) -> Result<Each<Vec<f32>>> {
        let (session, images) = (self.clone(), images.to_vec());
        unblock(async move || session.0.embed_images(&images).await).await
    }

    /// The tokens of each image, row-major `[T, D]` as [`Model::token_shape`] says: of the last hidden state, or of hidden state
    /// `layer`, which is the input of that block (the last block's output, not yet normalised, where it is the depth).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) without images or for a layer beyond the depth; the first image's error that
    /// has no result; errors of the device.
    pub fn tokens(&self, images: &[Image], layer: Option<usize>) -> Result<Vec<Vec<f32>>> {
        self.tokens_each(images, layer)?.into_iter().collect()
    }

    /// As [`Session::tokens`], where an image without a result fails alone.
    ///
    /// # Errors
    /// As [`Session::tokens`], for what stops all images.
    pub fn tokens_each(&self, images: &[Image], layer: Option<usize>) -> Result<Each<Vec<f32>>> {
        wait(self.0.of_images(images, async |pixels| self.0.tokens(pixels, layer).await))
    }

    /// How many layers have attention: the blocks, and behind them the pooling, if the model pools by attention.
    #[must_use]
    pub fn attention_layers(&self) -> usize {
        self.0.attention_layers()
    }

    /// The attention probabilities of an image, head by head: for every layer in `layers` an output `attentions.i`
    /// `[1, H, queries, keys]`, whose rows sum to 1. Queries and keys are the tokens, the class token and its like first; the
    /// pooling's one query is a weight, and its keys are the tokens that it pools. The layers run in groups, so that the device
    /// holds at most 256 MiB of maps, or one layer's; the result has `4·H·T²` bytes a layer.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for layers that the model does not have, and for models whose images attend
    /// to each other; [`Error::Image`](crate::Error::Image) if the image can't be brought to the model's size; errors of the
    /// device.
    pub fn attentions(&self, image: &Image, layers: Range<usize>) -> Result<Outputs> {
        let pixels = self.preprocess(image)?;
        wait(self.0.attentions(&pixels, layers))
    }

    /// As [`Session::attentions`], without blocking.
    ///
    /// # Errors
    /// As [`Session::attentions`].
    pub async fn attentions_async(&self, image: &Image, layers: Range<usize>) -> Result<Outputs> {
        let (session, image) = (self.clone(), image.clone());
        unblock(async move || session.0.attentions(&session.preprocess(&image)?, layers).await).await
    }

    /// How many images of a call run at a time on this device, so that an app can read so many files, run them, and read on.
    /// `None` if the images of a batch depend on each other in this model: then all images of a call run together.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) if not even one image fits the device.
    pub fn batch_size(&self) -> Result<Option<usize>> {
        match self.checkpoint().config.batch {
            Batch::Independent => self.0.auto_batch().map(Some),
            Batch::Fixed(_) | Batch::Coupled => Ok(None),
        }
    }

    /// Runs images that are already normalised, as `pixel_values` `[B, C, H, W]` of the model's size. Gives `logits` `[B, K]`,
    /// `pooled` `[B, F]` and `last_hidden_state` `[B, T, D]`; with `taps` also `hidden_states.i`, the input of every block and
    /// the output of the last.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if `pixel_values` is not a whole number of images of the model's size;
    /// [`Error::NotFinite`](crate::Error::NotFinite) names the first output, and the image, that holds a NaN or an infinity.
    pub fn forward(&self, pixel_values: &[f32], taps: bool) -> Result<Outputs> {
        wait(self.0.forward(pixel_values, taps))
    }

    /// As [`Session::forward`], without blocking.
    ///
    /// # Errors
    /// As [`Session::forward`].
    pub async fn forward_async(&self, pixel_values: Vec<f32>, taps: bool) -> Result<Outputs> {
        let session = self.clone();
        unblock(async move || session.0.forward(&pixel_values, taps).await).await
    }
}

/// For this crate's own command line, tests and benches.
#[doc(hidden)]
impl Session {
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.model().0
    }

    pub fn preprocess(&self, image: &Image) -> Result<Pixels> {
        self.0.preprocess(image)
    }

    pub fn classify_pixels(&self, pixels: &[Pixels], top_k: usize) -> Result<Each<Vec<Prediction>>> {
        wait(self.0.classify(pixels, top_k))
    }

    pub fn logits_of_pixels(&self, pixels: &[Pixels]) -> Result<Each<Vec<f32>>> {
        wait(self.0.logits(pixels))
    }

    pub fn embed_pixels(&self, pixels: &[Pixels]) -> Result<Each<Vec<f32>>> {
        wait(self.0.embed(pixels))
    }

    pub fn tokens_of_pixels(&self, pixels: &[Pixels], layer: Option<usize>) -> Result<Each<Vec<f32>>> {
        wait(self.0.tokens(pixels, layer))
    }

    pub fn max_batch(&self) -> Result<usize> {
        self.0.max_batch()
    }

    pub fn auto_batch(&self) -> Result<usize> {
        self.0.auto_batch()
    }

    /// The most images that the device's memory held in a run, if it ran out in a larger one.
    #[must_use]
    pub fn reduced_batch(&self) -> Option<usize> {
        self.0.reduced_batch()
    }

    pub fn footprint(&self, batch: usize) -> Result<(u64, Cost)> {
        self.0.footprint(batch)
    }

    pub fn tuning(&self) -> Tuning {
        self.0.executor.tuning()
    }

    pub fn startup(&self) -> Option<Startup> {
        self.0.executor.startup()
    }

    pub fn peak(&self) -> Result<Peak> {
        wait(self.0.executor.peak())
    }

    pub fn profile(&self, batch: usize) -> Result<Option<Vec<OpTime>>> {
        self.0.profile(batch)
    }
}
