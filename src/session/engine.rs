//! A model on a device: plans per batch size, batches within the device's limits, one after another without a gap.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::model::Model;
use super::output::{Output, Outputs, Unchecked, join};
use super::progress::Listener;
use super::watched::Watched;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::executor::{Executor, OpTime, Running, wait};
use crate::graph::{Plan, Precision};
use crate::model::{Batch, Input, Maps, Request, Taps, build};
use crate::ops::{Cost, Data};

/// The most token rows of one run: a dispatch has at most 65,535 workgroups per dimension, and the smallest tile has 16 rows.
pub const MAX_ROWS: usize = 65_535 * 16;
/// The most images of one run: attention uses one z index of the dispatch for each, and 65,535 is the limit.
pub const MAX_IMAGES: usize = 65_535;
/// Bytes of activations that an automatic batch may take.
const AUTO_BYTES: u64 = 512 << 20;
/// Plans kept per session; an app that changes its batch size at every call must not grow without end.
const KEPT_PLANS: usize = 16;

/// A model, its weights on one device, and the plans for the batch sizes seen so far.
pub struct Engine {
    pub model: Model,
    pub executor: Box<dyn Executor>,
    pub precision: Precision,
    /// Why the device is not the one a user would hope for, if so.
    pub note: Option<String>,
    pub listener: Listener,
    pub weights: Arc<Watched>,
    /// The normalised value of every byte in each channel.
    pub table: Vec<f32>,
    plans: Mutex<HashMap<Request, Arc<Plan>>>,
    /// Found at the first run: every later one needs it too.
    max_batch: OnceLock<usize>,
    /// The most images that the device's memory held, once it ran out.
    held: AtomicUsize,
}

impl Engine {
    pub fn new(
        model: Model,
        executor: Box<dyn Executor>,
        weights: Arc<Watched>,
        precision: Precision,
        note: Option<String>,
        listener: Listener,
    ) -> Engine {
        let table = model.0.transform.table();
        let (plans, max_batch, held) = (Mutex::default(), OnceLock::new(), AtomicUsize::new(usize::MAX));
        Engine { model, executor, precision, note, listener, weights, table, plans, max_batch, held }
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.model.0
    }

    /// A request in this session's precision. The caller sets the batch size.
    pub fn request(&self, input: Input) -> Request {
        Request {
            batch: 0,
            input,
            last_hidden_state: false,
            taps: Taps::None,
            maps: Maps::None,
            precision: self.precision,
        }
    }

    /// The most images one run can take on this device; larger batches are split.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if not even one image fits.
    pub fn max_batch(&self) -> Result<usize> {
        if let Some(&known) = self.max_batch.get() {
            return Ok(known);
        }
        let batch = self.checkpoint().config.weight_batch();
        let request = Request { batch, ..self.request(Input::Planes) };
        let one = build(&self.checkpoint().config, request, u64::MAX)?;
        let fitting = usize::try_from(self.limit().saturating_mul(batch as u64) / one.largest_bytes().max(1))
            .unwrap_or(usize::MAX);
        let dispatchable = (MAX_ROWS / self.checkpoint().config.tokens().max(1)).min(MAX_IMAGES);
        Ok(*self.max_batch.get_or_init(|| fitting.min(dispatchable).max(1)))
    }

    /// A batch size that keeps this device busy: 64 images on a GPU, 4 on other devices, or fewer if the activations of so many
    /// would need more than 512 MiB.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if not even one image fits.
    pub fn auto_batch(&self) -> Result<usize> {
        match self.checkpoint().config.batch {
            Batch::Independent => {}
            Batch::Fixed(size) => return Ok(size),
            // The images of a batch depend on each other, so a batch must not be split if it fits.
            Batch::Coupled => return self.max_batch(),
        }
        let mut batch = self.executor.busy_batch().min(self.max_batch()?).min(self.held.load(Ordering::Relaxed));
        while batch > 1 && self.footprint(batch)?.0 > AUTO_BYTES {
            batch = batch.div_ceil(2);
        }
        Ok(batch)
    }

    /// The most images that the device's memory held in a run, if it ran out in a larger one.
    pub fn reduced_batch(&self) -> Option<usize> {
        Some(self.held.load(Ordering::Relaxed)).filter(|held| *held < usize::MAX)
    }

    /// Bytes of memory for the activations of one run with this batch size, and the FLOP and bytes moved by it.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] names a tensor that can't be made to fit.
    pub fn footprint(&self, batch: usize) -> Result<(u64, Cost)> {
        let plan = self.plan(Request { batch, ..self.request(Input::Bytes) })?;
        Ok((plan.peak_bytes(), plan.graph().cost()))
    }

    /// Runs `count` images in as few batches as the device allows and joins the results. If its memory runs out, batches are halved.
    pub async fn batches<'a>(
        &self,
        request: Request,
        count: usize,
        inputs: impl Fn(std::ops::Range<usize>) -> Vec<(&'static str, Data<'a>)>,
    ) -> Result<Unchecked> {
        let mut step = self.max_batch()?.min(count);
        let independent = self.checkpoint().config.batch == Batch::Independent;
        if independent {
            step = step.min(self.held.load(Ordering::Relaxed));
        }
        match self.checkpoint().config.batch {
            Batch::Fixed(size) if count != size => {
                let reason =
                    format!("{count} images were given, but this model's weights are for batches of exactly {size}");
                return Err(Error::argument("images", reason));
            }
            Batch::Fixed(_) | Batch::Coupled if step < count => {
                let reason =
                    format!("{count} images at once: the images of a batch depend on each other in this model");
                return Err(Error::argument("images", format!("{reason}, and no more than {step} fit the device")));
            }
            _ => {}
        }
        let mut joined: Vec<Output> = Vec::new();
        let mut running: Option<(Arc<Plan>, Running)> = None;
        let mut start = 0;
        while start < count {
            let batch = step.min(count - start);
            let plan = self.plan(Request { batch, ..request })?;
            // The next batch is handed over while the device computes this one.
            let started = match self.executor.start(&plan, &inputs(start..start + batch)).await {
                Err(Error::OutOfMemory { .. }) if independent && batch > 1 => {
                    // What is under way needs its memory until it is done.
                    if let Some((plan, running)) = running.take() {
                        join(&mut joined, plan.graph(), running.finish().await?);
                    }
                    step = batch.div_ceil(2);
                    self.held.fetch_min(step, Ordering::Relaxed);
                    continue;
                }
                started => started?,
            };
            start += batch;
            if let Some((plan, running)) = running.replace((plan, started)) {
                join(&mut joined, plan.graph(), running.finish().await?);
            }
        }
        if let Some((plan, running)) = running {
            join(&mut joined, plan.graph(), running.finish().await?);
        }
        let affected = self.weights.affected(self.plan(Request { batch: step, ..request })?.graph());
        Ok(Unchecked { outputs: Outputs(joined), precision: self.precision, affected })
    }

    /// The time of each operation of a run with this batch size, measured on the device; `None` on the processor and on
    /// devices without timestamps.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn profile(&self, batch: usize) -> Result<Option<Vec<OpTime>>> {
        let plan = self.plan(Request { batch, ..self.request(Input::Bytes) })?;
        let (h, w) = self.checkpoint().config.img_size;
        let bytes = vec![0u8; batch * 3 * h * w];
        let inputs = [("pixels", Data::U8(&bytes)), ("normalize", Data::F32(&self.table))];
        wait(self.executor.profile(&plan, &inputs))
    }

    pub fn limit(&self) -> u64 {
        self.executor.max_tensor_bytes()
    }

    fn plan(&self, request: Request) -> Result<Arc<Plan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&request) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::new(build(&self.checkpoint().config, request, self.limit())?, self.limit())?);
        if plans.len() == KEPT_PLANS {
            plans.clear();
        }
        plans.insert(request, Arc::clone(&plan));
        Ok(plan)
    }
}

#[cfg(all(test, feature = "cpu", feature = "bundled"))]
mod tests {
    use super::*;
    use crate::cpu::CpuExecutor;
    use crate::executor::{Inputs, Later, Peak};
    use crate::model::WeightLoader;

    /// A processor with memory for so many values of pixels.
    struct Small(CpuExecutor, usize);

    impl Executor for Small {
        fn name(&self) -> &str {
            "small"
        }

        fn max_tensor_bytes(&self) -> u64 {
            self.0.max_tensor_bytes()
        }

        fn busy_batch(&self) -> usize {
            64
        }

        fn start<'a>(&'a self, plan: &'a Arc<Plan>, inputs: &'a Inputs<'a>) -> Later<'a, Result<Running>> {
            if inputs.iter().any(|(_, data)| data.len() > self.1) {
                let error = Error::OutOfMemory { adapter: "small".into(), what: "activations".into() };
                return Box::pin(async { Err(error) });
            }
            self.0.start(plan, inputs)
        }

        fn peak(&self) -> Later<'_, Result<Peak>> {
            self.0.peak()
        }
    }

    fn engine(values: usize) -> Engine {
        let model = Model::bundled().unwrap();
        let weights = Arc::new(Watched::new(&model, Precision::F32, Listener::default()).unwrap());
        let loader: Arc<dyn WeightLoader> = Arc::<Watched>::clone(&weights);
        let executor = Box::new(Small(CpuExecutor::new(loader, 1).unwrap(), values));
        Engine::new(model, executor, weights, Precision::F32, None, Listener::default())
    }

    #[test]
    fn batches_are_halved_where_memory_runs_out_and_give_the_same() {
        let image = 3 * 32 * 32;
        let pixels: Vec<f32> = (0..11 * image).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
        let logits = |engine: &Engine| {
            let outputs = wait(engine.forward(&pixels, false)).unwrap();
            outputs.get("logits").unwrap().values.clone()
        };
        let (small, large) = (engine(3 * image), engine(usize::MAX));
        assert_eq!(logits(&small), logits(&large));
        // 11 images do not fit, nor do 6; 3 do.
        assert_eq!((small.reduced_batch(), large.reduced_batch()), (Some(3), None));
        assert_eq!(small.auto_batch().unwrap(), 3);
        assert_eq!(logits(&small), logits(&large));
        // Not even one image fits: that is an error.
        let none = engine(image - 1);
        assert!(matches!(wait(none.forward(&pixels, false)), Err(Error::OutOfMemory { .. })));
    }
}
