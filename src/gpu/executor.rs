//! Runs graphs on one device: inputs up, prepared dispatches in few submits, results back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adapter::{AdapterReport, DeviceRequest, Kernels, choose};
use super::device::Device;
use super::kernels::Capabilities;
use super::prepare::{Lease, Prepared, Startup};
use super::readback::ReadbackRing;
use super::signal::Signal;
use super::tune::{Choice, Tuner};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::graph::{Graph, Precision};
use crate::model::WeightLoader;
use crate::ops::Data;

/// No submit is predicted to run longer: watchdogs kill what runs for seconds.
const SUBMIT_SECONDS: f64 = 0.5;

/// A model's weights, buffers and pipelines on one device.
pub struct GpuExecutor {
    pub(super) device: Device,
    report: AdapterReport,
    pub(super) capabilities: Capabilities,
    /// A run leases everything it writes to while it is handed over; the device then keeps the order.
    pub(super) lease: async_lock::Mutex<Lease>,
    /// Two turns: one run computes while the next is handed over.
    under_way: Arc<async_lock::Semaphore>,
}

/// A run that was handed to the device. Dropping it gives up on its results, nothing else.
pub struct Running {
    graph: Arc<Graph>,
    signals: Vec<Signal>,
    readback: Vec<wgpu::Buffer>,
    ring: ReadbackRing,
    _turn: async_lock::SemaphoreGuardArc,
}

impl Running {
    /// Waits for the results.
    ///
    /// # Errors
    /// As [`GpuExecutor::run`].
    pub async fn finish(self, gpu: &GpuExecutor) -> Result<Vec<Vec<f32>>> {
        let Running { graph, signals, readback, ring, .. } = self;
        for signal in signals {
            gpu.device.wait(signal).await?;
        }
        let outputs = readback.iter().zip(&graph.outputs);
        let results = outputs.map(|(buffer, (_, id))| {
            let tensor = graph.tensor(*id);
            gpu.device.take_mapped(buffer, tensor.len(), tensor.dtype)
        });
        let results = results.collect::<Result<Vec<_>>>()?;
        ring.give_back(readback);
        Ok(results)
    }
}

impl GpuExecutor {
    /// Opens the adapter a request means; `None` where that is the processor.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing (or too much) matches, [`Error::Device`] if it can't be opened.
    pub async fn open(
        request: &DeviceRequest,
        kernels: Kernels,
        precision: Precision,
        loader: Arc<dyn WeightLoader>,
    ) -> Result<Option<Self>> {
        let Some(candidate) = choose(request).await? else { return Ok(None) };
        let capabilities = Capabilities::new(&candidate.report, kernels, precision)?;
        let device = Device::open(&candidate, capabilities).await?;
        let tuner = Tuner::new(&candidate.report, capabilities, kernels);
        let lease = Lease::new(Weights::new(loader), tuner);
        Ok(Some(GpuExecutor {
            device,
            report: candidate.report,
            capabilities,
            lease: async_lock::Mutex::new(lease),
            under_way: Arc::new(async_lock::Semaphore::new(2)),
        }))
    }

    /// The adapter's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.report.name
    }

    /// The adapter, as `devices` lists it.
    #[must_use]
    pub fn report(&self) -> &AdapterReport {
        &self.report
    }

    /// Kernels chosen by measurement so far, and those left alone with the reason; both empty where the static table decides.
    pub async fn tuning(&self) -> (Vec<Choice>, BTreeMap<String, String>) {
        let lease = self.lease.lock().await;
        (lease.tuner.log().to_vec(), lease.tuner.dropped().clone())
    }

    /// Seconds spent so far on what is done once.
    pub async fn startup(&self) -> Startup {
        self.lease.lock().await.startup
    }

    /// The largest tensor a graph for this device may hold, in bytes.
    #[must_use]
    pub fn max_tensor_bytes(&self) -> u64 {
        self.device.max_binding
    }

    /// Runs a graph; `inputs` by name, results in the order of `graph.outputs`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a missing or wrong input; [`Error::OutOfMemory`], [`Error::Device`] and [`Error::DeviceLost`]
    /// from the device.
    pub async fn run(&self, graph: &Arc<Graph>, inputs: &[(&str, Data<'_>)]) -> Result<Vec<Vec<f32>>> {
        self.start(graph, inputs).await?.finish(self).await
    }

    /// Hands a run to the device and returns while it computes; at most two are under way at a time.
    ///
    /// # Errors
    /// As [`GpuExecutor::run`].
    pub async fn start(&self, graph: &Arc<Graph>, inputs: &[(&str, Data<'_>)]) -> Result<Running> {
        self.device.check()?;
        let turn = self.under_way.acquire_arc().await;
        let mut lease = self.lease.lock().await;
        let index = lease.prepared(&self.device, self.capabilities, graph).await?;
        let (prepared, slots) = (&lease.plans[index], &lease.slots);
        let readback = prepared.readback.take(&self.device, graph).await?;
        self.upload(prepared, inputs)?;
        let last = self.encode(prepared, slots, &readback);
        let signals = self.device.submit_and_map(last, &readback);
        Ok(Running { graph: Arc::clone(graph), signals, readback, ring: prepared.readback.clone(), _turn: turn })
    }

    pub(super) fn upload(&self, prepared: &Prepared, inputs: &[(&str, Data<'_>)]) -> Result<()> {
        for (name, len, buffer) in &prepared.inputs {
            let Some((_, data)) = inputs.iter().find(|(given, _)| given == name) else {
                return Err(Error::shape(name, "was not given"));
            };
            let bytes: &[u8] = match data {
                Data::F32(values) => bytemuck::cast_slice(values),
                Data::U8(values) => values,
            };
            let given = data.len() as u64;
            if given != *len {
                return Err(Error::shape(name, format!("{len} elements expected, {given} given")));
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

    /// Encodes every step, handing over all but the last commands, which end with the copies for reading back.
    fn encode(&self, prepared: &Prepared, slots: &[wgpu::Buffer], readback: &[wgpu::Buffer]) -> wgpu::CommandBuffer {
        // Rough rates, on the slow side: they only decide where a long batch is cut.
        let flop_per_second = if self.report.is_software() { 2e9 } else { 5e11 };
        let budget = SUBMIT_SECONDS * flop_per_second;
        let mut steps = prepared.steps.iter().peekable();
        loop {
            let mut encoder = self.device.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let mut flop = 0.0;
                while let Some(step) = steps.next_if(|step| flop == 0.0 || flop + step.cost.flop <= budget) {
                    flop += step.cost.flop.max(1.0);
                    step.record(&mut pass);
                }
            }
            if steps.peek().is_some() {
                self.device.submit([encoder.finish()]);
                continue;
            }
            for ((_, id), readback) in prepared.graph.outputs.iter().zip(readback) {
                if let Some(slot) = prepared.plan.slot(*id) {
                    encoder.copy_buffer_to_buffer(
                        &slots[slot],
                        0,
                        readback,
                        0,
                        prepared.graph.tensor(*id).bytes().next_multiple_of(4),
                    );
                }
            }
            return encoder.finish();
        }
    }
}
