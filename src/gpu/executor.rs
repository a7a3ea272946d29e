//! Runs graphs on one device: uploads the inputs, submits the prepared dispatches in a few groups, reads the results.

use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::choose;
use super::device::OpenDevice;
use super::kernels::Capabilities;
use super::prepare::{InputBuffer, Prepared, Resources};
use super::probe::probed;
use super::tune::Tuner;
use super::weights::Weights;
use crate::device::{Adapter, Kernels};
use crate::error::{Error, Result};
use crate::executor::{Executor, Inputs, Later, OpTime, Peak, Running, Startup, Tuning};
use crate::graph::{Dtype, Plan, Precision};
use crate::model::WeightLoader;
use crate::ops::Data;

/// Longest predicted time of one submit. Operating systems reset a GPU that is busy for some seconds without a break.
const SUBMIT_SECONDS: f64 = 0.5;

/// A model's weights, buffers and pipelines on one device.
pub struct GpuExecutor {
    pub(super) device: Arc<OpenDevice>,
    report: Adapter,
    pub(super) capabilities: Capabilities,
    /// Everything that runs write to. A run locks it while it is being submitted; after that the device keeps the runs in order.
    pub(super) resources: async_lock::Mutex<Resources>,
    /// Limits runs to two at a time: one computes while the next is being submitted.
    under_way: Arc<async_lock::Semaphore>,
    /// What the last preparation left to report, so that nobody waits for a run to read it.
    report_so_far: Mutex<(Tuning, Startup)>,
}

impl GpuExecutor {
    /// Opens the adapter that a request means; `None` if the request means the processor.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if no adapter, or more than one, matches the request; [`Error::Device`] if the adapter can't be opened.
    pub async fn open(
        request: &crate::device::Device,
        kernels: Kernels,
        precision: Precision,
        loader: Arc<dyn WeightLoader>,
    ) -> Result<Option<Self>> {
        let Some(candidate) = choose(request).await? else { return Ok(None) };
        let mut capabilities = Capabilities::new(&candidate.report, kernels, precision)?;
        let device = OpenDevice::open(&candidate, capabilities).await?;
        if let Some(matrices) = capabilities.matrices.filter(|matrices| !matrices.fixed) {
            let width = device.subgroup_width().await?;
            capabilities.matrices = Some(probed(matrices, candidate.report.backend, width));
        }
        let tuner = Tuner::new(&candidate.report, capabilities, kernels);
        let resources = Resources::new(Weights::new(loader), tuner);
        Ok(Some(GpuExecutor {
            device: Arc::new(device),
            report: candidate.report,
            capabilities,
            resources: async_lock::Mutex::new(resources),
            under_way: Arc::new(async_lock::Semaphore::new(2)),
            report_so_far: Mutex::default(),
        }))
    }

    /// Tells `listener` how many kernels are compiled, of how many that a run waits for.
    pub fn on_compiled(&mut self, listener: impl Fn(usize, usize) + Send + Sync + 'static) {
        self.resources.get_mut().on_compiled = Some(Box::new(listener));
    }

    /// The adapter, as `devices` lists it.
    #[must_use]
    pub fn report(&self) -> &Adapter {
        &self.report
    }

    /// Submits a run to the device and returns while it computes. At most two runs are in progress at a time.
    async fn begin(&self, plan: &Arc<Plan>, inputs: &Inputs<'_>) -> Result<Running> {
        self.device.check()?;
        let turn = self.under_way.acquire_arc().await;
        let mut resources = self.resources.lock().await;
        let index = resources.prepared(&self.device, self.capabilities, plan).await;
        self.note(&resources);
        let index = index?;
        let (prepared, slots) = (&resources.plans[index], &resources.slots);
        let readback = prepared.readback.take(&self.device, plan.graph()).await?;
        self.upload(prepared, inputs)?;
        let (what, last) = self.encode(prepared, slots, &readback);
        let signals = self.device.submit_and_map(&what, last, &readback);
        let (device, plan, ring) = (Arc::clone(&self.device), Arc::clone(plan), prepared.readback.clone());
        Ok(Running::new(async move {
            let _turn = turn;
            for signal in signals {
                device.wait(signal).await?;
            }
            let outputs = readback.iter().zip(plan.graph().outputs());
            let results = outputs.map(|(buffer, (_, id))| {
                let tensor = plan.graph().tensor(*id);
                device.take_mapped(buffer, tensor.len(), tensor.dtype)
            });
            let results = results.collect::<Result<Vec<_>>>()?;
            ring.give_back(readback);
            Ok(results)
        }))
    }

    /// Keeps what can be told of tuning and startup.
    fn note(&self, resources: &Resources) {
        let choices = resources.tuner.log().to_vec();
        let tuning = Tuning { choices, dropped: resources.tuner.dropped().clone() };
        *self.report_so_far.lock().unwrap_or_else(PoisonError::into_inner) = (tuning, resources.startup);
    }

    pub(super) fn upload(&self, prepared: &Prepared, inputs: &Inputs<'_>) -> Result<()> {
        for InputBuffer { name, len, dtype, buffer } in &prepared.inputs {
            let Some((_, data)) = inputs.iter().find(|(given, _)| given == name) else {
                return Err(Error::shape(name, "was not given"));
            };
            let halves: Vec<half::f16>;
            let bytes: &[u8] = match data {
                Data::F32(values) if *dtype == Dtype::F16 => {
                    halves = values.iter().map(|value| half::f16::from_f32(*value)).collect();
                    bytemuck::cast_slice(&halves)
                }
                Data::F32(values) => bytemuck::cast_slice(values),
                Data::U8(values) => values,
            };
            let given = data.len();
            if given != *len || matches!(data, Data::U8(_)) != (*dtype == Dtype::U8) {
                return Err(Error::shape(name, format!("{len} elements of {dtype:?} expected, {given} given")));
            }
            let whole = bytes.len() / 4 * 4;
            self.device.queue.write_buffer(buffer, 0, &bytes[..whole]);
            if whole < bytes.len() {
                let mut tail = [0u8; 4];
                tail[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                self.device.queue.write_buffer(buffer, whole as u64, &tail);
            }
        }
        Ok(())
    }

    /// Encodes all steps and submits them, except for the last group of commands, which ends with copying the results and is returned, with
    /// its name.
    fn encode(
        &self,
        prepared: &Prepared,
        slots: &[wgpu::Buffer],
        readback: &[wgpu::Buffer],
    ) -> (String, wgpu::CommandBuffer) {
        // Rough, low estimates of the device's rates. They only decide where a long batch is divided into submits.
        let flop_per_second = if self.report.is_software() { 2e9 } else { 5e11 };
        let budget = SUBMIT_SECONDS * flop_per_second;
        let mut steps = prepared.steps.iter().peekable();
        loop {
            let mut encoder = self.device.device.create_command_encoder(&Default::default());
            let first = steps.peek().map_or("", |step| &step.label);
            let mut last = first;
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let mut flop = 0.0;
                while let Some(step) = steps.next_if(|step| flop == 0.0 || flop + step.cost.flop <= budget) {
                    flop += step.cost.flop.max(1.0);
                    step.record(&mut pass);
                    last = &step.label;
                }
            }
            let what = if first == last { first.to_owned() } else { format!("{first} to {last}") };
            if steps.peek().is_some() {
                self.device.submit(&what, [encoder.finish()]);
                continue;
            }
            for ((_, id), readback) in prepared.plan.graph().outputs().iter().zip(readback) {
                if let Some(slot) = prepared.plan.slot(*id) {
                    encoder.copy_buffer_to_buffer(
                        &slots[slot],
                        0,
                        readback,
                        0,
                        prepared.plan.graph().tensor(*id).bytes().next_multiple_of(4),
                    );
                }
            }
            return (what, encoder.finish());
        }
    }
}

impl Executor for GpuExecutor {
    fn name(&self) -> &str {
        &self.report.name
    }

    fn max_tensor_bytes(&self) -> u64 {
        self.device.max_binding
    }

    fn busy_batch(&self) -> usize {
        if self.report.is_software() { 4 } else { 64 }
    }

    fn start<'a>(&'a self, plan: &'a Arc<Plan>, inputs: &'a Inputs<'a>) -> Later<'a, Result<Running>> {
        Box::pin(self.begin(plan, inputs))
    }

    fn peak(&self) -> Later<'_, Result<Peak>> {
        Box::pin(self.measure_peak())
    }

    fn profile<'a>(&'a self, plan: &'a Arc<Plan>, inputs: &'a Inputs<'a>) -> Later<'a, Result<Option<Vec<OpTime>>>> {
        Box::pin(self.time_each(plan, inputs))
    }

    fn tuning(&self) -> Tuning {
        self.report_so_far.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn startup(&self) -> Option<Startup> {
        Some(self.report_so_far.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
}
