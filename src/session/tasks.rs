//! What a model is asked for: classes, embeddings, tokens, raw outputs.

use super::engine::Engine;
use super::output::Outputs;
use super::progress::Progress;
use crate::error::{Error, Result};
use crate::labels::Prediction;
use crate::model::{Batch, Head, Input, Request, Taps};
use crate::ops::Data;
use crate::preprocess::{Image, Pixels};

/// A result of each image, or why it has none.
pub type Each<T> = Vec<Result<T>>;

impl Engine {
    /// As [`Engine::classify`], of images as they are.
    pub async fn classify_images(&self, images: &[Image], top_k: usize) -> Result<Each<Vec<Prediction>>> {
        self.of_images(images, async |pixels| self.classify(pixels, top_k).await).await
    }

    /// As [`Engine::logits`], of images as they are.
    pub async fn logits_images(&self, images: &[Image]) -> Result<Each<Vec<f32>>> {
        self.of_images(images, async |pixels| self.logits(pixels).await).await
    }

    /// As [`Engine::embed`], of images as they are.
    pub async fn embed_images(&self, images: &[Image]) -> Result<Each<Vec<f32>>> {
        self.of_images(images, async |pixels| self.embed(pixels).await).await
    }

    /// The `top_k` classes of each image with the highest scores, best first.
    pub async fn classify(&self, pixels: &[Pixels], top_k: usize) -> Result<Each<Vec<Prediction>>> {
        if top_k == 0 {
            return Err(Error::argument("top_k", "top-k must be at least 1"));
        }
        let logits = self.logits(pixels).await?;
        Ok(logits.into_iter().map(|row| row.map(|row| self.checkpoint().labels.top_k(&row, top_k))).collect())
    }

    /// The logits of each image.
    pub async fn logits(&self, pixels: &[Pixels]) -> Result<Each<Vec<f32>>> {
        if self.checkpoint().config.head == Head::None {
            return Err(Error::NoHead { model: self.checkpoint().name.clone() });
        }
        self.rows(pixels, "logits", self.request(Input::Bytes)).await
    }

    /// The pooled vector of each image.
    pub async fn embed(&self, pixels: &[Pixels]) -> Result<Each<Vec<f32>>> {
        self.rows(pixels, "pooled", self.request(Input::Bytes)).await
    }

    /// The tokens of each image, of the last hidden state or of hidden state `layer`.
    pub async fn tokens(&self, pixels: &[Pixels], layer: Option<usize>) -> Result<Each<Vec<f32>>> {
        let request = self.request(Input::Bytes);
        let depth = self.checkpoint().config.depth;
        match layer {
            None => {
                let request = Request { last_hidden_state: true, ..request };
                self.rows(pixels, "last_hidden_state", request).await
            }
            Some(layer) if layer <= depth => {
                let request = Request { taps: Taps::Only(layer), ..request };
                self.rows(pixels, &format!("hidden_states.{layer}"), request).await
            }
            Some(layer) => {
                Err(Error::argument("layer", format!("layer {layer}: the model has hidden states 0 to {depth}")))
            }
        }
    }

    /// Runs normalised planes `[batch, C, H, W]`.
    pub async fn forward(&self, pixel_values: &[f32], taps: bool) -> Result<Outputs> {
        let cfg = &self.checkpoint().config;
        let (h, w) = cfg.img_size;
        let image = cfg.in_chans * h * w;
        if pixel_values.is_empty() || !pixel_values.len().is_multiple_of(image) {
            let reason = format!("[B, {}, {h}, {w}] expected, {} values given", cfg.in_chans, pixel_values.len());
            return Err(Error::shape("pixel_values", reason));
        }
        let taps = if taps { Taps::All } else { Taps::None };
        let request = Request { last_hidden_state: true, taps, ..self.request(Input::Planes) };
        let outputs = self.batches(request, pixel_values.len() / image, |range| {
            vec![("pixel_values", Data::F32(&pixel_values[range.start * image..range.end * image]))]
        });
        outputs.await?.finite()
    }

    /// Resizes and crops an image as the model expects it.
    pub fn preprocess(&self, image: &Image) -> Result<Pixels> {
        let pixels = self.checkpoint().transform.apply(image)?;
        let ((h, w), (mh, mw)) = (pixels.size, self.checkpoint().config.img_size);
        if (h, w) != (mh, mw) {
            return Err(Error::image("image", format!("it is {w}x{h} after preprocessing, the model takes {mw}x{mh}")));
        }
        Ok(pixels)
    }

    /// Preprocesses images and hands them to `run` in batches that keep the device busy. An image that can't be
    /// preprocessed costs the others nothing.
    pub async fn of_images<T>(
        &self,
        images: &[Image],
        run: impl AsyncFn(&[Pixels]) -> Result<Each<T>>,
    ) -> Result<Each<T>> {
        if images.is_empty() {
            return Err(Error::argument("images", "no images were given"));
        }
        let batch = match self.checkpoint().config.batch {
            Batch::Independent => self.auto_batch()?,
            // Another batch would be another result.
            Batch::Fixed(_) | Batch::Coupled => images.len(),
        };
        let mut all = Vec::with_capacity(images.len());
        for images_of_batch in images.chunks(batch) {
            let first = all.len();
            let (mut pixels, mut refused) = (Vec::with_capacity(images_of_batch.len()), Vec::new());
            for image in images_of_batch {
                refused.push(self.preprocess(image).map(|image| pixels.push(image)).err());
            }
            let mut results = if pixels.is_empty() { Vec::new() } else { run(&pixels).await? }.into_iter();
            let missing = || Err(Error::shape("results", "one is missing"));
            let in_order = refused.into_iter().map(|refused| match refused {
                Some(error) => Err(error),
                None => results.next().unwrap_or_else(missing),
            });
            all.extend(in_order.enumerate().map(|(i, result)| result.map_err(|error| error.of_image(first + i))));
            self.listener.tell(Progress::Images { done: all.len(), of: images.len() });
        }
        Ok(all)
    }

    /// One output of each image.
    async fn rows(&self, pixels: &[Pixels], name: &str, request: Request) -> Result<Each<Vec<f32>>> {
        if pixels.is_empty() {
            return Err(Error::argument("images", "no images were given"));
        }
        let cfg = &self.checkpoint().config;
        if cfg.in_chans != 3 {
            let reason = format!("the model takes {} channels, images have 3: run it with `forward`", cfg.in_chans);
            return Err(Error::argument("images", reason));
        }
        let (h, w) = cfg.img_size;
        let image = 3 * h * w;
        if pixels.iter().any(|pixels| pixels.data.len() != image) {
            return Err(Error::shape("pixels", format!("every image must be {w}x{h}")));
        }
        let bytes: Vec<u8> = pixels.iter().flat_map(|pixels| pixels.data.iter().copied()).collect();
        let outputs = self
            .batches(request, pixels.len(), |range| {
                let pixels = Data::U8(&bytes[range.start * image..range.end * image]);
                vec![("pixels", pixels), ("normalize", Data::F32(&self.table))]
            })
            .await?;
        outputs.rows(name)
    }
}
