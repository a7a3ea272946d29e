//! Prepares a graph for a device: makes buffers for its slots, uploads parameters, and creates the bind group of each dispatch.

use std::collections::VecDeque;
use std::sync::Arc;

use super::device::OpenDevice;
use super::kernels::{Capabilities, Dispatch, select, transposed};
use super::readback::ReadbackRing;
use super::tune::Tuner;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::executor::{Instant, Startup};
use crate::graph::{Dtype, Kind, Node, Plan, TensorId};
use crate::ops::{Cost, Op};

/// Number of prepared graphs that a session keeps.
const KEPT_PLANS: usize = 4;
/// Offsets of uniform bindings (WebGPU's default limit).
const UNIFORM_ALIGN: usize = 256;

/// Gets how many kernels are compiled, of how many that a run waits for.
type OnCompiled = Box<dyn Fn(usize, usize) + Send + Sync>;

/// Everything a run writes to.
pub struct Resources {
    pub weights: Weights,
    pub tuner: Tuner,
    /// One buffer per slot number, as large as the largest plan needs.
    pub slots: Vec<wgpu::Buffer>,
    pub plans: VecDeque<Prepared>,
    pub startup: Startup,
    /// Told how many kernels are compiled, of how many.
    pub on_compiled: Option<OnCompiled>,
    stand_in: Option<wgpu::Buffer>,
}

/// A graph that is ready to run: all its dispatches have their buffers.
pub struct Prepared {
    pub plan: Arc<Plan>,
    pub steps: Vec<Step>,
    pub inputs: Vec<InputBuffer>,
    pub readback: ReadbackRing,
}

/// Where an input goes.
pub struct InputBuffer {
    pub name: String,
    /// Elements.
    pub len: usize,
    pub dtype: Dtype,
    pub buffer: wgpu::Buffer,
}

/// One dispatch.
pub struct Step {
    pub label: String,
    pub kernel: &'static str,
    pub pipeline: wgpu::ComputePipeline,
    pub bindings: wgpu::BindGroup,
    pub groups: [u32; 3],
    pub cost: Cost,
}

impl Step {
    /// Records the dispatch into a compute pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.insert_debug_marker(&self.label);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// The pipeline of a dispatch. If its kernel does not compile, it is dropped, and the dispatch becomes that of the next candidate.
async fn pipeline_or_next(
    tuner: &mut Tuner,
    device: &OpenDevice,
    capabilities: Capabilities,
    op: &Op,
    dispatch: &mut Dispatch,
) -> Result<wgpu::ComputePipeline> {
    loop {
        let error = match device.pipeline(dispatch).await {
            Ok(pipeline) => return Ok(pipeline),
            Err(error) => error,
        };
        let Error::Device { reason, .. } = &error else { return Err(error) };
        let Some(next) = tuner.instead(op, capabilities, dispatch.kernel, reason) else { return Err(error) };
        *dispatch = select(op, Some(next), capabilities);
    }
}

impl Resources {
    pub fn new(weights: Weights, tuner: Tuner) -> Resources {
        Resources {
            weights,
            tuner,
            startup: Startup::default(),
            on_compiled: None,
            slots: Vec::new(),
            plans: VecDeque::new(),
            stand_in: None,
        }
    }

    /// The index of the graph's prepared plan. If there is none yet, it is made, and the least recently used one is dropped if necessary.
    pub async fn prepared(
        &mut self,
        device: &OpenDevice,
        capabilities: Capabilities,
        plan: &Arc<Plan>,
    ) -> Result<usize> {
        if let Some(index) = self.plans.iter().position(|prepared| Arc::ptr_eq(&prepared.plan, plan)) {
            let prepared = self.plans.remove(index);
            self.plans.extend(prepared);
            return Ok(self.plans.len() - 1);
        }
        let graph = plan.graph();
        let clock = Instant::now();
        self.weights.load(device, capabilities, graph).await?;
        self.startup.weights += clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let mut dispatches: Vec<Dispatch> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let kernel = self.tuner.kernel(device, capabilities, &node.op).await?;
            dispatches.push(select(&node.op, kernel, capabilities));
        }
        self.startup.tuning += clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let mut pipelines = Vec::with_capacity(dispatches.len());
        let missing = device.missing(&dispatches);
        let tell = |done| self.on_compiled.iter().filter(|_| missing > 0).for_each(|tell| tell(done, missing));
        tell(0);
        for i in 0..dispatches.len() {
            let op = &graph.nodes()[i].op;
            pipelines.push(pipeline_or_next(&mut self.tuner, device, capabilities, op, &mut dispatches[i]).await?);
            tell(missing.saturating_sub(device.missing(&dispatches)));
        }
        self.startup.pipelines += clock.elapsed().as_secs_f64();
        device.save_pipelines();
        let bound =
            device.scoped("activations", || self.bind_plan(device, capabilities, plan, &dispatches, pipelines)).await;
        let prepared = bound.and_then(|prepared| prepared).inspect_err(|_| self.forget_slots())?;
        if self.plans.len() == KEPT_PLANS {
            self.plans.pop_front();
        }
        self.plans.push_back(prepared);
        Ok(self.plans.len() - 1)
    }

    fn bind_plan(
        &mut self,
        device: &OpenDevice,
        capabilities: Capabilities,
        plan: &Arc<Plan>,
        dispatches: &[Dispatch],
        pipelines: Vec<wgpu::ComputePipeline>,
    ) -> Result<Prepared> {
        let graph = plan.graph();
        self.grow_slots(device, plan);
        let stand_in = self.stand_in.get_or_insert_with(|| device.buffer("absent operand", 16)).clone();
        let tensors = graph.tensors().iter().filter(|tensor| tensor.kind == Kind::Input);
        let inputs: Vec<_> = tensors
            .map(|tensor| InputBuffer {
                name: tensor.name.clone(),
                len: tensor.len(),
                dtype: tensor.dtype,
                buffer: device.buffer(&tensor.name, tensor.bytes()),
            })
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
        let uniform = device.uniform(&uniforms);

        let find = |node: &Node, operand: usize, id: TensorId| -> Result<wgpu::Buffer> {
            let tensor = graph.tensor(id);
            let found = match &tensor.kind {
                Kind::Input => inputs.iter().find(|input| input.name == tensor.name).map(|input| &input.buffer),
                Kind::Weight(at) => self.weights.get(at, transposed(&node.op, operand, capabilities)),
                Kind::Activation => plan.slot(id).map(|slot| &self.slots[slot]),
            };
            found.cloned().ok_or_else(|| Error::shape(&tensor.name, "has no buffer"))
        };
        let mut steps = Vec::with_capacity(graph.nodes().len());
        for (((node, dispatch), pipeline), offset) in graph.nodes().iter().zip(dispatches).zip(pipelines).zip(offsets) {
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
            // Bind only the tensor's bytes, rounded up to whole vec4s: the slot may be larger, because other tensors use it too.
            entries.extend(buffers.iter().map(|(buffer, bytes)| {
                wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 0,
                    size: std::num::NonZeroU64::new(bytes.next_multiple_of(16).min(buffer.size())),
                })
            }));
            let bindings = device.bind(dispatch, entries);
            steps.push(Step {
                label: node.label.clone(),
                kernel: dispatch.kernel,
                pipeline,
                bindings,
                groups: dispatch.groups,
                cost: node.op.cost(graph.precision().bytes()),
            });
        }
        Ok(Prepared { plan: Arc::clone(plan), steps, inputs, readback: ReadbackRing::default() })
    }

    /// Makes the slot buffers large enough for a plan. If a buffer is replaced, the prepared plans that used it are dropped.
    fn grow_slots(&mut self, device: &OpenDevice, plan: &Plan) {
        for (i, &bytes) in plan.slots().iter().enumerate() {
            if self.slots.get(i).is_none_or(|buffer| buffer.size() < bytes) {
                let buffer = device.buffer(&format!("slot {i}"), bytes);
                if i < self.slots.len() {
                    self.slots[i] = buffer;
                    self.plans.clear();
                } else {
                    self.slots.push(buffer);
                }
            }
        }
    }

    /// Drops buffers that may be invalid after an error, so that the next run makes them anew.
    fn forget_slots(&mut self) {
        self.slots.clear();
        self.plans.clear();
        self.stand_in = None;
    }
}
