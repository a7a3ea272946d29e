//! Runs graphs on one device: buffers for a plan's slots, prepared dispatches, few submits.

use std::collections::VecDeque;
use std::sync::Arc;

use super::adapter::{AdapterReport, DeviceRequest, Kernels, choose};
use super::device::Device;
use super::kernels::{Capabilities, Dispatch, select, transposed};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::graph::{Graph, Kind, Node, Plan, TensorId};
use crate::model::WeightLoader;
use crate::ops::{Cost, Data, Op};

/// Prepared graphs kept per session.
const KEPT_PLANS: usize = 4;
/// No submit is predicted to run longer: watchdogs kill what runs for seconds.
const SUBMIT_SECONDS: f64 = 0.5;
/// Offsets of uniform bindings (WebGPU's default limit).
const UNIFORM_ALIGN: usize = 256;

/// A model's weights, buffers and pipelines on one device.
pub struct GpuExecutor {
    device: Device,
    report: AdapterReport,
    capabilities: Capabilities,
    /// A run leases everything it writes to; other runs wait.
    lease: async_lock::Mutex<Lease>,
}

struct Lease {
    weights: Weights,
    /// One buffer per slot number, as large as the largest plan needs.
    slots: Vec<wgpu::Buffer>,
    plans: VecDeque<Prepared>,
    stand_in: Option<wgpu::Buffer>,
}

/// A graph with its buffers bound.
struct Prepared {
    graph: Arc<Graph>,
    plan: Plan,
    steps: Vec<Step>,
    inputs: Vec<(String, u64, wgpu::Buffer)>,
    readback: Vec<wgpu::Buffer>,
}

struct Step {
    label: String,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 3],
    cost: Cost,
}

impl GpuExecutor {
    /// Opens the adapter a request means; `None` where that is the processor.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing (or too much) matches, [`Error::Device`] if it can't be opened.
    pub async fn open(
        request: &DeviceRequest,
        kernels: Kernels,
        loader: Arc<dyn WeightLoader>,
    ) -> Result<Option<Self>> {
        let Some(candidate) = choose(request).await? else { return Ok(None) };
        let capabilities = Capabilities::new(&candidate.report, kernels)?;
        let device = Device::open(&candidate).await?;
        let weights = Weights::new(loader);
        let lease = Lease { weights, slots: Vec::new(), plans: VecDeque::new(), stand_in: None };
        Ok(Some(GpuExecutor { device, report: candidate.report, capabilities, lease: async_lock::Mutex::new(lease) }))
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

    /// The largest tensor a graph for this device may hold, in bytes.
    #[must_use]
    pub fn max_tensor_bytes(&self) -> u64 {
        self.device.max_binding
    }

    /// Loads the weights a graph reads, compiles its kernels, allocates its buffers; a later run finds them.
    ///
    /// # Errors
    /// As [`GpuExecutor::run`].
    pub async fn prepare(&self, graph: &Arc<Graph>) -> Result<()> {
        let mut lease = self.lease.lock().await;
        self.prepared(&mut lease, graph).await.map(|_| ())
    }

    /// Runs a graph; `inputs` by name, results in the order of `graph.outputs`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a missing or wrong input; [`Error::OutOfMemory`], [`Error::Device`] and [`Error::DeviceLost`]
    /// from the device.
    pub async fn run(&self, graph: &Arc<Graph>, inputs: &[(&str, Data<'_>)]) -> Result<Vec<Vec<f32>>> {
        self.device.check()?;
        let mut lease = self.lease.lock().await;
        let index = self.prepared(&mut lease, graph).await?;
        let (prepared, slots) = (&lease.plans[index], &lease.slots);
        self.upload(prepared, inputs)?;
        let last = self.encode(prepared, slots);
        let buffers: Vec<_> = prepared.readback.iter().collect();
        self.device.submit_and_map(last, &buffers).await?;
        let mut results = Vec::with_capacity(buffers.len());
        for (buffer, (_, id)) in buffers.iter().zip(&graph.outputs) {
            let mapped = buffer.slice(..).get_mapped_range().map_err(|error| self.device.error(error.to_string()))?;
            results.push(bytemuck::cast_slice(&mapped)[..graph.tensor(*id).len()].to_vec());
            drop(mapped);
            buffer.unmap();
        }
        Ok(results)
    }

    /// Runs one operation by itself, for tests: `output` is what the buffer holds before.
    ///
    /// # Errors
    /// As [`GpuExecutor::run`].
    pub async fn run_op(&self, op: &Op, operands: &[Option<Data<'_>>], output: &[f32]) -> Result<Vec<f32>> {
        let lens: Vec<_> = operands.iter().map(|o| o.map(|o| o.f32().len().max(o.u8().len()))).collect();
        op.check(&lens, output.len())?;
        let dispatch = select(op, self.capabilities);
        let pipeline = self.device.pipeline(&dispatch).await?;
        let buffer = |bytes: &[u8]| {
            let buffer = self.buffer("operand", bytes.len() as u64);
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            self.device.queue.write_buffer(&buffer, 0, &padded);
            buffer
        };
        let (group, out) = self
            .device
            .scoped(op.name(), || {
                let mut buffers = Vec::new();
                for (i, operand) in operands.iter().enumerate() {
                    buffers.push(match operand {
                        Some(Data::F32(values)) if transposed(op, i) => {
                            let Op::Linear(linear) = op else { return Err(Error::shape(op.name(), "transposed")) };
                            let mut columns = vec![0.0f32; values.len()];
                            for (at, value) in values[..linear.n * linear.k].iter().enumerate() {
                                columns[at % linear.k * linear.n + at / linear.k] = *value;
                            }
                            buffer(bytemuck::cast_slice(&columns))
                        }
                        Some(Data::F32(values)) => buffer(bytemuck::cast_slice(values)),
                        Some(Data::U8(values)) => buffer(values),
                        None => buffer(&[0; 16]),
                    });
                }
                let out = buffer(bytemuck::cast_slice(output));
                let params = self.uniform(&dispatch.params);
                let mut entries = vec![params.as_entire_binding()];
                entries.extend(buffers.iter().chain([&out]).map(wgpu::Buffer::as_entire_binding));
                Ok((self.bind(&dispatch, entries), out))
            })
            .await??;
        let readback = self.readback((output.len() * 4) as u64);
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            let [x, y, z] = dispatch.groups;
            pass.dispatch_workgroups(x, y, z);
        }
        encoder.copy_buffer_to_buffer(&out, 0, &readback, 0, (output.len() * 4) as u64);
        self.device.submit_and_map(encoder.finish(), &[&readback]).await?;
        let mapped = readback.slice(..).get_mapped_range().map_err(|error| self.device.error(error.to_string()))?;
        Ok(bytemuck::cast_slice(&mapped)[..output.len()].to_vec())
    }

    /// Destroys the device, as a driver reset would: runs after this fail with [`Error::DeviceLost`].
    pub fn lose_device(&self) {
        self.device.device.destroy();
    }

    /// The index of a graph's prepared plan, made if need be; the least recently used one makes room.
    async fn prepared(&self, lease: &mut Lease, graph: &Arc<Graph>) -> Result<usize> {
        if let Some(index) = lease.plans.iter().position(|prepared| Arc::ptr_eq(&prepared.graph, graph)) {
            let prepared = lease.plans.remove(index);
            lease.plans.extend(prepared);
            return Ok(lease.plans.len() - 1);
        }
        let plan = Plan::new(graph, self.max_tensor_bytes())?;
        lease.weights.load(&self.device, graph).await?;
        let dispatches: Vec<Dispatch> = graph.nodes.iter().map(|node| select(&node.op, self.capabilities)).collect();
        let mut pipelines = Vec::with_capacity(dispatches.len());
        for dispatch in &dispatches {
            pipelines.push(self.device.pipeline(dispatch).await?);
        }
        let prepared = self
            .device
            .scoped("activations", || self.bind_plan(lease, graph, plan, &dispatches, pipelines))
            .await
            .and_then(|prepared| prepared)
            .inspect_err(|_| lease.forget_slots())?;
        if lease.plans.len() == KEPT_PLANS {
            lease.plans.pop_front();
        }
        lease.plans.push_back(prepared);
        Ok(lease.plans.len() - 1)
    }

    fn bind_plan(
        &self,
        lease: &mut Lease,
        graph: &Arc<Graph>,
        plan: Plan,
        dispatches: &[Dispatch],
        pipelines: Vec<wgpu::ComputePipeline>,
    ) -> Result<Prepared> {
        self.grow_slots(lease, &plan);
        let stand_in = lease.stand_in.get_or_insert_with(|| self.buffer("absent operand", 16)).clone();
        let inputs: Vec<_> = graph
            .tensors
            .iter()
            .filter(|tensor| tensor.kind == Kind::Input)
            .map(|tensor| (tensor.name.clone(), tensor.len() as u64, self.buffer(&tensor.name, tensor.bytes())))
            .collect();
        let mut uniforms = Vec::new();
        let offsets: Vec<usize> = dispatches
            .iter()
            .map(|dispatch| {
                let offset = uniforms.len();
                uniforms.extend_from_slice(&dispatch.params);
                uniforms.resize(uniforms.len().next_multiple_of(UNIFORM_ALIGN), 0);
                offset
            })
            .collect();
        let uniform = self.uniform(&uniforms);

        let find = |node: &Node, operand: usize, id: TensorId| -> Result<wgpu::Buffer> {
            let tensor = graph.tensor(id);
            let found = match &tensor.kind {
                Kind::Input => inputs.iter().find(|(name, ..)| *name == tensor.name).map(|(.., buffer)| buffer),
                Kind::Weight(at) => lease.weights.get(at, transposed(&node.op, operand)),
                Kind::Activation => plan.slot(id).map(|slot| &lease.slots[slot]),
            };
            found.cloned().ok_or_else(|| Error::shape(&tensor.name, "has no buffer"))
        };
        let mut steps = Vec::with_capacity(graph.nodes.len());
        for (((node, dispatch), pipeline), offset) in graph.nodes.iter().zip(dispatches).zip(pipelines).zip(offsets) {
            let mut buffers = Vec::with_capacity(node.inputs.len() + 1);
            for (operand, id) in node.inputs.iter().enumerate() {
                buffers.push(match id {
                    Some(id) => (find(node, operand, *id)?, graph.tensor(*id).bytes()),
                    None => (stand_in.clone(), 16),
                });
            }
            buffers.push((find(node, node.inputs.len(), node.output)?, graph.tensor(node.output).bytes()));
            let mut entries = vec![wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &uniform,
                offset: offset as u64,
                size: std::num::NonZeroU64::new(dispatch.params.len() as u64),
            })];
            // Exactly the tensor is bound, rounded up to whole vec4s: slots are shared with larger tensors.
            entries.extend(buffers.iter().map(|(buffer, bytes)| {
                wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 0,
                    size: std::num::NonZeroU64::new(bytes.next_multiple_of(16).min(buffer.size())),
                })
            }));
            let bindings = self.bind(dispatch, entries);
            steps.push(Step {
                label: node.label.clone(),
                pipeline,
                bindings,
                groups: dispatch.groups,
                cost: node.op.cost(),
            });
        }
        let readback = graph.outputs.iter().map(|(_, id)| self.readback(graph.tensor(*id).bytes())).collect();
        Ok(Prepared { graph: Arc::clone(graph), plan, steps, inputs, readback })
    }

    /// Makes slot buffers at least as large as a plan's; bound plans are forgotten when one is replaced.
    fn grow_slots(&self, lease: &mut Lease, plan: &Plan) {
        for (i, &bytes) in plan.slots().iter().enumerate() {
            if lease.slots.get(i).is_none_or(|buffer| buffer.size() < bytes) {
                let buffer = self.buffer(&format!("slot {i}"), bytes);
                if i < lease.slots.len() {
                    lease.slots[i] = buffer;
                    lease.plans.clear();
                } else {
                    lease.slots.push(buffer);
                }
            }
        }
    }

    fn upload(&self, prepared: &Prepared, inputs: &[(&str, Data<'_>)]) -> Result<()> {
        for (name, len, buffer) in &prepared.inputs {
            let Some((_, data)) = inputs.iter().find(|(given, _)| given == name) else {
                return Err(Error::shape(name, "was not given"));
            };
            let bytes: &[u8] = match data {
                Data::F32(values) => bytemuck::cast_slice(values),
                Data::U8(values) => values,
            };
            let given = data.f32().len().max(data.u8().len()) as u64;
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
    fn encode(&self, prepared: &Prepared, slots: &[wgpu::Buffer]) -> wgpu::CommandBuffer {
        // Rough rates, on the slow side: they only decide where a long batch is cut.
        let flop_per_second = if self.report.kind == "software" { 2e9 } else { 5e11 };
        let budget = SUBMIT_SECONDS * flop_per_second;
        let mut steps = prepared.steps.iter().peekable();
        loop {
            let mut encoder = self.device.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                let mut flop = 0.0;
                while let Some(step) = steps.next_if(|step| flop == 0.0 || flop + step.cost.flop <= budget) {
                    flop += step.cost.flop.max(1.0);
                    pass.insert_debug_marker(&step.label);
                    pass.set_pipeline(&step.pipeline);
                    pass.set_bind_group(0, &step.bindings, &[]);
                    let [x, y, z] = step.groups;
                    pass.dispatch_workgroups(x, y, z);
                }
            }
            if steps.peek().is_some() {
                self.device.submit([encoder.finish()]);
                continue;
            }
            for ((_, id), readback) in prepared.graph.outputs.iter().zip(&prepared.readback) {
                if let Some(slot) = prepared.plan.slot(*id) {
                    encoder.copy_buffer_to_buffer(&slots[slot], 0, readback, 0, prepared.graph.tensor(*id).bytes());
                }
            }
            return encoder.finish();
        }
    }

    fn buffer(&self, label: &str, bytes: u64) -> wgpu::Buffer {
        self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    fn readback(&self, bytes: u64) -> wgpu::Buffer {
        self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes.next_multiple_of(4).max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    fn uniform(&self, bytes: &[u8]) -> wgpu::Buffer {
        let buffer = self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (bytes.len() as u64).next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.device.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    fn bind(&self, dispatch: &Dispatch, resources: Vec<wgpu::BindingResource<'_>>) -> wgpu::BindGroup {
        let entries: Vec<_> = resources
            .into_iter()
            .enumerate()
            .map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource })
            .collect();
        self.device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(dispatch.shader.name),
            layout: &self.device.layout(dispatch.shader.inputs),
            entries: &entries,
        })
    }
}

impl Lease {
    /// Drops buffers that may be invalid after an error, so that the next run makes them anew.
    fn forget_slots(&mut self) {
        self.slots.clear();
        self.plans.clear();
        self.stand_in = None;
    }
}
