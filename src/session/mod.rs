//! A model on a device: what an app holds.

mod classifier;

pub use classifier::Classifier;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::checkpoint::Checkpoint;
use crate::cpu::CpuExecutor;
use crate::error::{Error, Result};
use crate::gpu::{DeviceRequest, GpuExecutor, Kernels, adapters, automatic};
use crate::graph::{Graph, Plan, Precision};
use crate::labels::Prediction;
use crate::model::{Head, Input, Request, build};
use crate::ops::{Cost, Data};
use crate::preprocess::{Image, Pixels};

/// Where and how a session runs.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The device.
    pub device: DeviceRequest,
    /// What weights and activations are stored in; the processor computes in f32 only.
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

/// A graph with its plan.
type Planned = (Arc<Graph>, Arc<Plan>);

/// Token rows of one run: a dispatch has at most 65,535 workgroups a dimension, the smallest tile has 16 rows.
const MAX_ROWS: usize = 65_535 * 16;
/// Images of one run: attention takes a workgroup layer each.
const MAX_IMAGES: usize = 65_535;
/// Graphs kept per session; an app that changes its batch size at every call must not grow without end.
const KEPT_GRAPHS: usize = 16;

enum Backend {
    Cpu(CpuExecutor),
    Gpu(Box<GpuExecutor>),
}

/// A model, its weights on one device, and the plans for the batch sizes seen so far.
///
/// `Send + Sync`: threads may share one; their calls take turns on the device.
pub struct Session {
    checkpoint: Checkpoint,
    backend: Backend,
    precision: Precision,
    table: Vec<f32>,
    note: Option<String>,
    graphs: Mutex<HashMap<Request, Planned>>,
    /// Found at the first run: every later one needs it too.
    max_batch: OnceLock<usize>,
}

/// A named result, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `logits`, `pooled`, `last_hidden_state` or `hidden_states.i`.
    pub name: String,
    /// Its shape, batch first.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Results of one forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs(pub Vec<Output>);

impl Outputs {
    /// The result called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Output> {
        self.0.iter().find(|output| output.name == name)
    }

    /// Values of the result called `name`, split by image.
    fn rows(&self, name: &str) -> Result<Vec<Vec<f32>>> {
        let output = self.get(name).ok_or_else(|| Error::shape(name, "the model does not give it"))?;
        let row = output.values.len() / output.shape[0].max(1);
        Ok(output.values.chunks_exact(row.max(1)).map(<[f32]>::to_vec).collect())
    }
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
        let loader = Arc::clone(&checkpoint.loader);
        let (mut note, precision) = (None, options.precision);
        let backend = match GpuExecutor::open(&options.device, options.kernels, precision, Arc::clone(&loader)).await? {
            Some(gpu) => Backend::Gpu(Box::new(gpu)),
            None if precision == Precision::F16 => {
                let reason = match options.device {
                    DeviceRequest::Auto => format!("f16 needs a GPU: {}", automatic(&adapters().await).1),
                    _ => "the processor computes in f32: f16 needs a GPU".to_owned(),
                };
                return Err(Error::NoDevice { request: options.device.to_string(), reason });
            }
            None => {
                if options.device == DeviceRequest::Auto {
                    note =
                        Some(format!("no GPU is used ({}): running on the processor", automatic(&adapters().await).1));
                }
                Backend::Cpu(CpuExecutor::new(loader, options.threads)?)
            }
        };
        let table = checkpoint.transform.table();
        Ok(Session {
            checkpoint,
            backend,
            precision,
            table,
            note,
            graphs: Mutex::default(),
            max_batch: OnceLock::new(),
        })
    }

    /// The adapter's name, or `cpu`.
    #[must_use]
    pub fn device(&self) -> &str {
        match &self.backend {
            Backend::Cpu(_) => "cpu",
            Backend::Gpu(gpu) => gpu.name(),
        }
    }

    /// The arithmetic's precision.
    #[must_use]
    pub fn precision(&self) -> &'static str {
        self.precision.name()
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

    /// A batch size that keeps this device busy: as many images as its tensors hold, within reason.
    ///
    /// # Errors
    /// [`Error::Limit`] if not even one image fits.
    pub fn auto_batch(&self) -> Result<usize> {
        let busy = match &self.backend {
            Backend::Gpu(gpu) if !gpu.report().is_software() => 32,
            _ => 4,
        };
        Ok(busy.min(self.max_batch()?))
    }

    /// The most images one run can take on this device; larger batches are split.
    ///
    /// # Errors
    /// [`Error::Limit`] if not even one image fits.
    pub fn max_batch(&self) -> Result<usize> {
        if let Some(&known) = self.max_batch.get() {
            return Ok(known);
        }
        let request = Request {
            batch: 1,
            input: Input::Planes,
            last_hidden_state: false,
            taps: false,
            precision: self.precision,
        };
        let one = build(&self.checkpoint.config, request, u64::MAX)?;
        let fitting = usize::try_from(self.limit() / one.largest_bytes().max(1)).unwrap_or(usize::MAX);
        let dispatchable = (MAX_ROWS / self.checkpoint.config.tokens().max(1)).min(MAX_IMAGES);
        Ok(*self.max_batch.get_or_init(|| fitting.min(dispatchable).max(1)))
    }

    /// Bytes of activations a run with this batch size takes, and FLOP and bytes moved.
    ///
    /// # Errors
    /// [`Error::Limit`] names a tensor that can't be made to fit.
    pub fn footprint(&self, batch: usize) -> Result<(u64, Cost)> {
        let request =
            Request { batch, input: Input::Bytes, last_hidden_state: false, taps: false, precision: self.precision };
        let (graph, plan) = self.graph(request)?;
        Ok((plan.peak_bytes(), graph.cost()))
    }

    /// The `top_k` most probable classes of each image.
    ///
    /// # Errors
    /// [`Error::Usage`] without images, for `top_k` 0 or for a model without a head; errors of preprocessing and of the device.
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
        if top_k == 0 {
            return Err(Error::Usage("top-k must be at least 1".into()));
        }
        if self.checkpoint.config.head == Head::None {
            let name = &self.checkpoint.name;
            return Err(Error::Usage(format!("{name} has no classification head: `embed` gives its pooled vectors")));
        }
        let logits = self.rows_of(pixels, "logits").await?;
        Ok(logits.iter().map(|row| self.checkpoint.labels.top_k(row, top_k)).collect())
    }

    /// The pooled vector of each image: what the head is given, or the pooler's output.
    ///
    /// # Errors
    /// [`Error::Usage`] without images; errors of preprocessing and of the device.
    pub fn embed(&self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        let pixels: Vec<Pixels> = images.iter().map(|image| self.preprocess(image)).collect::<Result<_>>()?;
        pollster::block_on(self.embed_pixels(&pixels))
    }

    /// As [`Session::embed`], for images that went through [`Session::preprocess`].
    ///
    /// # Errors
    /// As [`Session::embed`].
    pub async fn embed_pixels(&self, pixels: &[Pixels]) -> Result<Vec<Vec<f32>>> {
        self.rows_of(pixels, "pooled").await
    }

    /// Runs normalised planes `[batch, C, H, W]`; `taps` also keeps `hidden_states.i`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `pixel_values` is not a whole number of images of the model's size.
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
        let request =
            Request { batch: 0, input: Input::Planes, last_hidden_state: true, taps, precision: self.precision };
        self.batches(request, pixel_values.len() / image, |range| {
            vec![("pixel_values", Data::F32(&pixel_values[range.start * image..range.end * image]))]
        })
        .await
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

    async fn rows_of(&self, pixels: &[Pixels], name: &str) -> Result<Vec<Vec<f32>>> {
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
        let request =
            Request { batch: 0, input: Input::Bytes, last_hidden_state: false, taps: false, precision: self.precision };
        let outputs = self
            .batches(request, pixels.len(), |range| {
                let pixels = Data::U8(&bytes[range.start * image..range.end * image]);
                vec![("pixels", pixels), ("normalize", Data::F32(&self.table))]
            })
            .await?;
        outputs.rows(name)
    }

    /// Runs `count` images in as few batches as the device allows and joins the results.
    async fn batches<'a>(
        &self,
        request: Request,
        count: usize,
        inputs: impl Fn(std::ops::Range<usize>) -> Vec<(&'static str, Data<'a>)>,
    ) -> Result<Outputs> {
        let step = self.max_batch()?.min(count);
        let mut joined: Vec<Output> = Vec::new();
        for start in (0..count).step_by(step) {
            let batch = step.min(count - start);
            let (graph, plan) = self.graph(Request { batch, ..request })?;
            let inputs = inputs(start..start + batch);
            let results = match &self.backend {
                Backend::Cpu(cpu) => cpu.run(&graph, &plan, &inputs)?,
                Backend::Gpu(gpu) => gpu.run(&graph, &inputs).await?,
            };
            for (i, ((name, id), values)) in graph.outputs.iter().zip(results).enumerate() {
                let shape = &graph.tensor(*id).shape;
                match joined.get_mut(i) {
                    Some(output) => {
                        output.shape[0] += shape[0];
                        output.values.extend(values);
                    }
                    None => joined.push(Output { name: name.clone(), shape: shape.clone(), values }),
                }
            }
        }
        Ok(Outputs(joined))
    }

    fn limit(&self) -> u64 {
        match &self.backend {
            Backend::Cpu(_) => u64::MAX,
            Backend::Gpu(gpu) => gpu.max_tensor_bytes(),
        }
    }

    fn graph(&self, request: Request) -> Result<Planned> {
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((graph, plan)) = graphs.get(&request) {
            return Ok((Arc::clone(graph), Arc::clone(plan)));
        }
        let graph = build(&self.checkpoint.config, request, self.limit())?;
        let plan = Plan::new(&graph, self.limit())?;
        let made = (Arc::new(graph), Arc::new(plan));
        if graphs.len() == KEPT_GRAPHS {
            graphs.clear();
        }
        graphs.insert(request, (Arc::clone(&made.0), Arc::clone(&made.1)));
        Ok(made)
    }
}
