//! How a session runs: graphs per batch size, batches within the device's limits, one after another without a gap.

use std::sync::{Arc, PoisonError};

use super::output::{Output, Outputs, Unchecked, join};
use super::{Backend, Session};
use crate::error::{Error, Result};
use crate::gpu::{OpTime, Running};
use crate::graph::{Graph, Plan};
use crate::model::{Batch, Input, Request, Taps, build};
use crate::ops::{Cost, Data};

/// A graph with its plan.
pub(super) type Planned = (Arc<Graph>, Arc<Plan>);

/// Token rows of one run: a dispatch has at most 65,535 workgroups a dimension, the smallest tile has 16 rows.
const MAX_ROWS: usize = 65_535 * 16;
/// Images of one run: attention takes a workgroup layer each.
const MAX_IMAGES: usize = 65_535;
/// Bytes of activations that an automatic batch may take.
const AUTO_BYTES: u64 = 512 << 20;
/// Graphs kept per session; an app that changes its batch size at every call must not grow without end.
const KEPT_GRAPHS: usize = 16;

impl Session {
    /// A request in this session's precision, of no batch size yet.
    pub(super) fn request(&self, input: Input) -> Request {
        Request { batch: 0, input, last_hidden_state: false, taps: Taps::None, precision: self.precision }
    }

    /// The most images one run can take on this device; larger batches are split.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if not even one image fits.
    pub fn max_batch(&self) -> Result<usize> {
        if let Some(&known) = self.max_batch.get() {
            return Ok(known);
        }
        let batch = self.checkpoint.config.weight_batch();
        let request = Request { batch, ..self.request(Input::Planes) };
        let one = build(&self.checkpoint.config, request, u64::MAX)?;
        let fitting = usize::try_from(self.limit() * batch as u64 / one.largest_bytes().max(1)).unwrap_or(usize::MAX);
        let dispatchable = (MAX_ROWS / self.checkpoint.config.tokens().max(1)).min(MAX_IMAGES);
        Ok(*self.max_batch.get_or_init(|| fitting.min(dispatchable).max(1)))
    }

    /// A batch size that keeps this device busy: 64 images on a GPU, 4 elsewhere, fewer where the memory plan of so many
    /// passes half a gibibyte.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] if not even one image fits.
    pub fn auto_batch(&self) -> Result<usize> {
        match self.checkpoint.config.batch {
            Batch::Independent => {}
            Batch::Fixed(size) => return Ok(size),
            // All there are: another batch would be another result.
            Batch::Coupled => return self.max_batch(),
        }
        let busy = match &self.backend {
            Backend::Gpu(gpu) if !gpu.report().is_software() => 64,
            _ => 4,
        };
        let mut batch = busy.min(self.max_batch()?);
        while batch > 1 && self.footprint(batch)?.0 > AUTO_BYTES {
            batch = batch.div_ceil(2);
        }
        Ok(batch)
    }

    /// Bytes of activations a run with this batch size takes, and FLOP and bytes moved.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] names a tensor that can't be made to fit.
    pub fn footprint(&self, batch: usize) -> Result<(u64, Cost)> {
        let (graph, plan) = self.graph(Request { batch, ..self.request(Input::Bytes) })?;
        Ok((plan.peak_bytes(), graph.cost()))
    }

    /// Runs `count` images in as few batches as the device allows and joins the results.
    pub(super) async fn batches<'a>(
        &self,
        request: Request,
        count: usize,
        inputs: impl Fn(std::ops::Range<usize>) -> Vec<(&'static str, Data<'a>)>,
    ) -> Result<Unchecked> {
        let step = self.max_batch()?.min(count);
        match self.checkpoint.config.batch {
            Batch::Fixed(size) if count != size => {
                let reason = format!("{count} images: this model's weights are for batches of exactly {size}");
                return Err(Error::Usage(reason));
            }
            Batch::Fixed(_) | Batch::Coupled if step < count => {
                let reason =
                    format!("{count} images at once: the images of a batch depend on each other in this model");
                return Err(Error::Usage(format!("{reason}, and no more than {step} fit the device")));
            }
            _ => {}
        }
        let mut joined: Vec<Output> = Vec::new();
        let mut running: Option<(Arc<Graph>, Running)> = None;
        for start in (0..count).step_by(step) {
            let batch = step.min(count - start);
            let (graph, plan) = self.graph(Request { batch, ..request })?;
            let inputs = inputs(start..start + batch);
            match &self.backend {
                Backend::Cpu(cpu) => join(&mut joined, &graph, cpu.run(&graph, &plan, &inputs)?),
                Backend::Gpu(gpu) => {
                    // The next batch goes up while the device computes this one.
                    let started = gpu.start(&graph, &inputs).await?;
                    if let Some((graph, running)) = running.replace((graph, started)) {
                        join(&mut joined, &graph, running.finish(gpu).await?);
                    }
                }
            }
        }
        if let (Some((graph, running)), Backend::Gpu(gpu)) = (running, &self.backend) {
            join(&mut joined, &graph, running.finish(gpu).await?);
        }
        let (graph, _) = self.graph(Request { batch: step, ..request })?;
        let affected = self.weights.affected(&graph);
        Ok(Unchecked { outputs: Outputs(joined), precision: self.precision, affected })
    }

    /// What each operation of a run with pixels of this batch size takes on the device; `None` on the processor and on
    /// devices without timestamps.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn profile(&self, batch: usize) -> Result<Option<Vec<OpTime>>> {
        let Backend::Gpu(gpu) = &self.backend else { return Ok(None) };
        let (graph, _) = self.graph(Request { batch, ..self.request(Input::Bytes) })?;
        let (h, w) = self.checkpoint.config.img_size;
        let bytes = vec![0u8; batch * 3 * h * w];
        let inputs = [("pixels", Data::U8(&bytes)), ("normalize", Data::F32(&self.table))];
        pollster::block_on(gpu.profile(&graph, &inputs))
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
