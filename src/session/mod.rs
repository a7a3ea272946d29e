//! A model on a device: what an app holds.

mod classifier;
mod output;
mod run;
mod watched;

pub use classifier::Classifier;
pub use output::{Output, Outputs};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::checkpoint::Checkpoint;
use crate::cpu::CpuExecutor;
use crate::error::{Error, Result};
use crate::executor::{Executor, Peak, Startup, Tuning};
use crate::gpu::{DeviceRequest, GpuExecutor, Kernels, adapters, automatic};
use crate::graph::{Plan, Precision};
use crate::labels::Prediction;
use crate::model::{Head, Input, Request, Taps, WeightLoader};
use crate::ops::Data;
use crate::preprocess::{Image, Pixels};
use watched::Watched;

/// Where and how a session runs.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The device.
    pub device: DeviceRequest,
    /// What weights and activations are stored in: the processor has f32 and i8, GPUs f32 and f16.
    pub precision: Precision,
    /// The family of GPU kernels.
    pub kernels: Kernels,
    /// Threads on the processor; 0 takes one per available core.
    pub threads: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { device: DeviceRequest::Auto, precision: Precision::F32, kernels: Kernels::Auto, threads: 0 }
    }
}

/// A model, its weights on one device, and the plans for the batch sizes seen so far.
///
/// `Send + Sync`: threads may share one; their calls take turns on the device.
pub struct Session {
    checkpoint: Checkpoint,
    executor: Box<dyn Executor>,
    weights: Arc<Watched>,
    precision: Precision,
    table: Vec<f32>,
    note: Option<String>,
    plans: Mutex<HashMap<Request, Arc<Plan>>>,
    /// Found at the first run: every later one needs it too.
    max_batch: OnceLock<usize>,
}

impl Session {
    /// Opens a model (see [`Checkpoint::open`]) on the best device.
    ///
    /// # Errors
    /// As [`Checkpoint::open`] and [`Session::new`].
    pub fn open(model: &str) -> Result<Session> {
        Session::new(Checkpoint::open(model)?, &SessionOptions::default())
    }

    /// Puts a model on a device. Weights are read when they are first needed.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing (or too much) matches, [`Error::Device`] if it can't be opened.
    pub fn new(checkpoint: Checkpoint, options: &SessionOptions) -> Result<Session> {
        pollster::block_on(Session::new_async(checkpoint, options))
    }

    /// As [`Session::new`], without blocking.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub async fn new_async(checkpoint: Checkpoint, options: &SessionOptions) -> Result<Session> {
        let (mut note, precision) = (None, options.precision);
        let weights = Arc::new(Watched::new(Arc::clone(&checkpoint.loader), precision));
        let loader: Arc<dyn WeightLoader> = Arc::<Watched>::clone(&weights);
        // Eight bits are the processor's alone, so that is the best device for them.
        let device = match (precision, &options.device) {
            (Precision::I8, DeviceRequest::Auto) => &DeviceRequest::Cpu,
            (_, asked) => asked,
        };
        let executor: Box<dyn Executor> =
            match GpuExecutor::open(device, options.kernels, precision, Arc::clone(&loader)).await? {
                Some(gpu) => Box::new(gpu),
                None if precision == Precision::F16 => {
                    let reason = match options.device {
                        DeviceRequest::Auto => format!("f16 needs a GPU: {}", automatic(&adapters().await).1),
                        _ => "the processor computes in f32 or i8: f16 needs a GPU".to_owned(),
                    };
                    return Err(Error::NoDevice { request: options.device.to_string(), reason });
                }
                None => {
                    if precision == Precision::I8 && !CpuExecutor::has_dot_products() {
                        note = Some("this processor has no AVX-512 VNNI: i8 is slower than f32 here".to_owned());
                    }
                    if precision == Precision::I8 && options.device == DeviceRequest::Auto && note.is_none() {
                        note = Some("i8 runs on the processor".to_owned());
                    }
                    if *device == DeviceRequest::Auto {
                        note = Some(format!(
                            "no GPU is used ({}): running on the processor",
                            automatic(&adapters().await).1
                        ));
                    }
                    Box::new(CpuExecutor::new(loader, options.threads)?)
                }
            };
        let table = checkpoint.transform.table();
        Ok(Session {
            checkpoint,
            executor,
            weights,
            precision,
            table,
            note,
            plans: Mutex::default(),
            max_batch: OnceLock::new(),
        })
    }

    /// The adapter's name, or `cpu`.
    #[must_use]
    pub fn device(&self) -> &str {
        self.executor.name()
    }

    /// The arithmetic's precision.
    #[must_use]
    pub fn precision(&self) -> &'static str {
        self.precision.name()
    }

    /// GPU kernels chosen by measurement so far, and those left alone with the reason.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        self.executor.tuning()
    }

    /// Seconds spent so far on what is done once; `None` on the processor, which reads weights and does nothing else.
    #[must_use]
    pub fn startup(&self) -> Option<Startup> {
        self.executor.startup()
    }

    /// What the device can do at most, measured now.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn peak(&self) -> Result<Peak> {
        pollster::block_on(self.executor.peak())
    }

    /// Why the device is not the one a user would hope for, if so.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The model.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The `top_k` classes of each image with the highest scores, best first.
    ///
    /// # Errors
    /// [`Error::Usage`] without images, for `top_k` 0 or for a model without a head; [`Error::NotFinite`] for a result that is no
    /// number; errors of preprocessing and of the device.
    pub fn classify(&self, images: &[Image], top_k: usize) -> Result<Vec<Vec<Prediction>>> {
        pollster::block_on(self.classify_async(images, top_k))
    }

    /// As [`Session::classify`], without blocking (native processors block while they compute).
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub async fn classify_async(&self, images: &[Image], top_k: usize) -> Result<Vec<Vec<Prediction>>> {
        let pixels: Vec<Pixels> = images.iter().map(|image| self.preprocess(image)).collect::<Result<_>>()?;
        self.classify_pixels(&pixels, top_k).await
    }

    /// As [`Session::classify_async`], for images that went through [`Session::preprocess`].
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub async fn classify_pixels(&self, pixels: &[Pixels], top_k: usize) -> Result<Vec<Vec<Prediction>>> {
        self.classify_each(pixels, top_k).await?.into_iter().collect()
    }

    /// As [`Session::classify_pixels`], where an image whose result is not finite fails alone, with [`Error::NotFinite`].
    ///
    /// # Errors
    /// As [`Session::classify`], for what stops the whole batch.
    pub async fn classify_each(&self, pixels: &[Pixels], top_k: usize) -> Result<Vec<Result<Vec<Prediction>>>> {
        if top_k == 0 {
            return Err(Error::Usage("top-k must be at least 1".into()));
        }
        if self.checkpoint.config.head == Head::None {
            let name = &self.checkpoint.name;
            return Err(Error::Usage(format!("{name} has no classification head: `embed` gives its pooled vectors")));
        }
        let logits = self.rows_of(pixels, "logits", self.request(Input::Bytes)).await?;
        Ok(logits.into_iter().map(|row| row.map(|row| self.checkpoint.labels.top_k(&row, top_k))).collect())
    }

    /// The pooled vector of each image: what the head is given, or the pooler's output.
    ///
    /// # Errors
    /// [`Error::Usage`] without images; [`Error::NotFinite`] for a vector that holds a NaN or an infinity; errors of preprocessing
    /// and of the device.
    pub fn embed(&self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        let pixels: Vec<Pixels> = images.iter().map(|image| self.preprocess(image)).collect::<Result<_>>()?;
        pollster::block_on(self.embed_pixels(&pixels))
    }

    /// As [`Session::embed`], for images that went through [`Session::preprocess`].
    ///
    /// # Errors
    /// As [`Session::embed`].
    pub async fn embed_pixels(&self, pixels: &[Pixels]) -> Result<Vec<Vec<f32>>> {
        self.embed_each(pixels).await?.into_iter().collect()
    }

    /// As [`Session::embed_pixels`], where an image whose vector is not finite fails alone, with [`Error::NotFinite`].
    ///
    /// # Errors
    /// As [`Session::embed`], for what stops the whole batch.
    pub async fn embed_each(&self, pixels: &[Pixels]) -> Result<Vec<Result<Vec<f32>>>> {
        self.rows_of(pixels, "pooled", self.request(Input::Bytes)).await
    }

    /// The tokens `[T, D]` of each image: of the last hidden state, or of the input of block `layer` (the last block's
    /// output, not yet normalised, where that is the depth).
    ///
    /// # Errors
    /// [`Error::Usage`] without images or for a layer beyond the depth; [`Error::NotFinite`] for tokens that hold a NaN or an
    /// infinity; errors of the device.
    pub async fn tokens_of_pixels(&self, pixels: &[Pixels], layer: Option<usize>) -> Result<Vec<Vec<f32>>> {
        self.tokens_of_each(pixels, layer).await?.into_iter().collect()
    }

    /// As [`Session::tokens_of_pixels`], where an image whose tokens are not finite fails alone, with [`Error::NotFinite`].
    ///
    /// # Errors
    /// As [`Session::tokens_of_pixels`], for what stops the whole batch.
    pub async fn tokens_of_each(&self, pixels: &[Pixels], layer: Option<usize>) -> Result<Vec<Result<Vec<f32>>>> {
        let request = self.request(Input::Bytes);
        let depth = self.checkpoint.config.depth;
        match layer {
            None => {
                let request = Request { last_hidden_state: true, ..request };
                self.rows_of(pixels, "last_hidden_state", request).await
            }
            Some(layer) if layer <= depth => {
                let request = Request { taps: Taps::Only(layer), ..request };
                self.rows_of(pixels, &format!("hidden_states.{layer}"), request).await
            }
            Some(layer) => Err(Error::Usage(format!("layer {layer}: the model has hidden states 0 to {depth}"))),
        }
    }

    /// Runs normalised planes `[batch, C, H, W]`; `taps` also keeps `hidden_states.i`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `pixel_values` is not a whole number of images of the model's size; [`Error::NotFinite`] names the
    /// first output, and the image, that holds a NaN or an infinity.
    pub fn forward(&self, pixel_values: &[f32], taps: bool) -> Result<Outputs> {
        pollster::block_on(self.forward_async(pixel_values, taps))
    }

    /// As [`Session::forward`], without blocking.
    ///
    /// # Errors
    /// As [`Session::forward`].
    pub async fn forward_async(&self, pixel_values: &[f32], taps: bool) -> Result<Outputs> {
        let cfg = &self.checkpoint.config;
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

    /// Resizes and crops an image as the model was trained.
    ///
    /// # Errors
    /// [`Error::Image`] if the result is not of the model's size.
    pub fn preprocess(&self, image: &Image) -> Result<Pixels> {
        let pixels = self.checkpoint.transform.apply(image)?;
        let ((h, w), (mh, mw)) = (pixels.size, self.checkpoint.config.img_size);
        if (h, w) != (mh, mw) {
            return Err(Error::image("image", format!("it is {w}x{h} after preprocessing, the model takes {mw}x{mh}")));
        }
        Ok(pixels)
    }

    async fn rows_of(&self, pixels: &[Pixels], name: &str, request: Request) -> Result<Vec<Result<Vec<f32>>>> {
        if pixels.is_empty() {
            return Err(Error::Usage("no images were given".into()));
        }
        if self.checkpoint.config.in_chans != 3 {
            let reason = format!("the model takes {} channels: run it with `forward`", self.checkpoint.config.in_chans);
            return Err(Error::Usage(reason));
        }
        let bytes: Vec<u8> = pixels.iter().flat_map(|pixels| pixels.data.iter().copied()).collect();
        let image = bytes.len() / pixels.len();
        let (h, w) = self.checkpoint.config.img_size;
        if pixels.iter().any(|pixels| pixels.data.len() != 3 * h * w) {
            return Err(Error::shape("pixels", format!("every image must be {w}x{h}")));
        }
        let outputs = self
            .batches(request, pixels.len(), |range| {
                let pixels = Data::U8(&bytes[range.start * image..range.end * image]);
                vec![("pixels", pixels), ("normalize", Data::F32(&self.table))]
            })
            .await?;
        outputs.rows(name)
    }
}
