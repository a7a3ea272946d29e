//! An open wgpu device. Its errors become `Error` values: resources are created in error scopes, loss is recorded in a flag, a thread polls.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::adapter::Candidate;
use super::kernels::{Capabilities, Dispatch, Shader};
use super::pipeline_cache::PipelineCacheFile;
use super::poller::{Done, Poller};
use super::wgsl::Constants;
use crate::error::{Error, Result};
use crate::graph::Precision;

type PipelineKey = (&'static str, Constants, Constants);

/// An open device.
pub struct OpenDevice {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub name: String,
    pub max_binding: u64,
    poller: Poller,
    /// The reason why the device was lost, or an error that happened outside an error scope.
    fault: Arc<Mutex<Option<Fault>>>,
    /// What was submitted.
    given: Arc<Mutex<Given>>,
    pipelines: Mutex<HashMap<PipelineKey, wgpu::ComputePipeline>>,
    compiled: PipelineCacheFile,
    layouts: Mutex<HashMap<u32, wgpu::BindGroupLayout>>,
}

/// Names of what the device was given, for the message of its loss.
#[derive(Debug, Default)]
struct Given {
    /// Not done yet, the oldest first.
    under_way: VecDeque<String>,
    last: Option<String>,
}

impl Given {
    /// The reason of a loss, and what was running.
    fn told(&self, reason: &str) -> String {
        match (self.under_way.front(), &self.last) {
            (Some(running), _) => format!("{reason}; it was running {running}"),
            (None, Some(last)) => format!("{reason}; the last that it ran was {last}"),
            (None, None) => reason.to_owned(),
        }
    }
}

#[derive(Debug)]
enum Fault {
    Lost(String),
    Uncaptured(String),
}

impl OpenDevice {
    /// Opens an adapter with the features its kernels use and the largest buffers it allows; other limits are WebGPU's default.
    pub async fn open(candidate: &Candidate, capabilities: Capabilities) -> Result<OpenDevice> {
        let name = candidate.report.name.clone();
        let mut wanted = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE;
        wanted.set(wgpu::Features::SHADER_F16, capabilities.precision == Precision::F16);
        wanted.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, capabilities.matrices.is_some());
        let available = candidate.adapter.limits();
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
            max_buffer_size: available.max_buffer_size,
            max_compute_workgroup_storage_size: capabilities.workgroup_memory,
            ..wgpu::Limits::default()
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("vit-gpu"),
            required_features: candidate.adapter.features() & wanted,
            required_limits: limits,
            experimental_features: if capabilities.matrices.is_some() {
                experimental()
            } else {
                wgpu::ExperimentalFeatures::disabled()
            },
            ..Default::default()
        };
        let (device, queue) =
            candidate.adapter.request_device(&descriptor).await.map_err(|error| Error::device_by(&name, error))?;
        let fault: Arc<Mutex<Option<Fault>>> = Arc::default();
        let note = |fault: &Arc<Mutex<Option<Fault>>>| {
            let fault = Arc::clone(fault);
            move |what| {
                fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
            }
        };
        let (lost, uncaptured) = (note(&fault), note(&fault));
        let given: Arc<Mutex<Given>> = Arc::default();
        let running = Arc::clone(&given);
        device.set_device_lost_callback(move |reason, message| {
            let reason = format!("{reason:?} {message}");
            lost(Fault::Lost(running.lock().unwrap_or_else(PoisonError::into_inner).told(reason.trim())));
        });
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            uncaptured(Fault::Uncaptured(one_line(&error.to_string())));
        }));
        // Submissions are cut to about half a second; software adapters compile within them, which can take minutes.
        let patience = Duration::from_secs(if candidate.report.is_software() { 1800 } else { 120 });
        let poller = Poller::spawn(device.clone(), patience).map_err(|error| Error::device_by(&name, error))?;
        // A storage binding must not be larger than a u32 byte offset can address.
        let max_binding =
            available.max_storage_buffer_binding_size.min(available.max_buffer_size).min(u64::from(u32::MAX) & !3);
        let compiled = PipelineCacheFile::open(&device, &candidate.report);
        let (pipelines, layouts) = (Mutex::default(), Mutex::default());
        Ok(OpenDevice { device, queue, name, max_binding, poller, fault, given, pipelines, compiled, layouts })
    }

    /// An error if the device was lost, or if something failed outside a scope.
    pub fn check(&self) -> Result<()> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.take() {
            None => Ok(()),
            Some(Fault::Lost(reason)) => {
                // A lost device stays lost; any other error is reported once.
                *fault = Some(Fault::Lost(reason.clone()));
                Err(Error::DeviceLost { adapter: self.name.clone(), reason })
            }
            Some(Fault::Uncaptured(reason)) => Err(self.error(reason)),
        }
    }

    pub fn error(&self, reason: impl Into<String>) -> Error {
        Error::device(&self.name, reason.into())
    }

    /// Runs `make` with every kind of error caught; `what` names it in the message.
    pub async fn scoped<T>(&self, what: &str, make: impl FnOnce() -> T) -> Result<T> {
        // The guards stay inside this block: only the futures they give cross the await.
        let (made, popped) = {
            let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
            let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
            let made = make();
            let validation = validation.pop();
            let internal = internal.pop();
            (made, (validation, internal, memory.pop()))
        };
        let errors = [popped.0.await, popped.1.await, popped.2.await];
        let error = errors.into_iter().flatten().next();
        if error.is_some() {
            // The reason may be that the device was lost: wait for its callback, which gives the better error.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
        self.check()?;
        match error {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::OutOfMemory { adapter: self.name.clone(), what: what.to_owned() })
            }
            Some(error) => Err(self.error(format!("{what}: {}", one_line(&error.to_string())))),
        }
    }

    /// Submits commands to the device; `what` they are is told if it is lost.
    pub fn submit(&self, what: &str, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) {
        let index = self.submitted(what, commands);
        self.poller.watch(index, None);
    }

    fn submitted(&self, what: &str, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            given.under_way.push_back(what.to_owned());
            given.last = Some(what.to_owned());
        }
        let index = self.queue.submit(commands);
        let given = Arc::clone(&self.given);
        self.queue.on_submitted_work_done(move || {
            given.lock().unwrap_or_else(PoisonError::into_inner).under_way.pop_front();
        });
        index
    }

    /// Submits what was written so far, and waits until it is done.
    pub async fn flush(&self) -> Result<()> {
        let signal = Done::default();
        let done = signal.clone();
        let index = self.queue.submit([]);
        self.queue.on_submitted_work_done(move || done.set(Ok(())));
        self.poller.watch(index, Some(signal.clone()));
        self.wait(signal).await
    }

    /// Submits commands, which are `what`, and asks for each of `buffers` to be mapped whole; the signals say when.
    pub fn submit_and_map(&self, what: &str, commands: wgpu::CommandBuffer, buffers: &[wgpu::Buffer]) -> Vec<Done> {
        let index = self.submitted(what, [commands]);
        let map = |buffer: &wgpu::Buffer| {
            let signal = Done::default();
            let done = signal.clone();
            let mapped = move |result: Result<(), wgpu::BufferAsyncError>| done.set(result.map_err(|e| e.to_string()));
            buffer.slice(..).map_async(wgpu::MapMode::Read, mapped);
            signal
        };
        let signals: Vec<Done> = buffers.iter().map(map).collect();
        for signal in &signals {
            self.poller.watch(index.clone(), Some(signal.clone()));
        }
        signals
    }

    /// Waits for a signal; an error if it failed, or if the device did meanwhile.
    pub async fn wait(&self, signal: Done) -> Result<()> {
        let result = signal.await;
        self.check()?;
        result.map_err(|reason| self.error(reason))
    }

    /// The bind group layout that all shaders share: one uniform buffer, `inputs` read-only storage buffers, and one that is written.
    pub fn layout(&self, inputs: u32) -> wgpu::BindGroupLayout {
        let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let entries: Vec<_> = (0..inputs + 2)
                .map(|binding| wgpu::BindGroupLayoutEntry {
                    binding,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: match binding {
                            0 => wgpu::BufferBindingType::Uniform,
                            _ => wgpu::BufferBindingType::Storage { read_only: binding <= inputs },
                        },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                })
                .collect();
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
        };
        layouts.entry(inputs).or_insert_with(make).clone()
    }

    /// Keeps what the driver compiled for the next start.
    pub fn save_pipelines(&self) {
        self.compiled.save();
    }

    /// How many pipelines of these dispatches are not compiled yet.
    pub fn missing(&self, dispatches: &[Dispatch]) -> usize {
        let pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = dispatches.iter().map(key).filter(|key| !pipelines.contains_key(key));
        keys.collect::<HashSet<_>>().len()
    }

    /// The compiled pipeline of a dispatch. It is made at the first call and then kept.
    pub async fn pipeline(&self, dispatch: &Dispatch) -> Result<wgpu::ComputePipeline> {
        let key = key(dispatch);
        let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(pipeline) = known {
            return Ok(pipeline);
        }
        let name = dispatch.shader.name;
        let pipeline = self.scoped(&format!("shader {name}"), || self.compile(dispatch)).await?;
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipeline.clone());
        self.compiled.note_new();
        Ok(pipeline)
    }

    fn compile(&self, dispatch: &Dispatch) -> wgpu::ComputePipeline {
        let Shader { name, inputs, .. } = *dispatch.shader;
        let text = dispatch.shader.text(dispatch.precision, &dispatch.constants);
        let module = self.trusted_module(name, text);
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &[Some(&self.layout(inputs))],
            ..Default::default()
        });
        let constants: Vec<_> = dispatch.overrides.iter().map(|(name, value)| (*name, f64::from(*value))).collect();
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.compiled.cache(),
        })
    }

    fn trusted_module(&self, label: &str, text: String) -> wgpu::ShaderModule {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
        // SAFETY: only this crate's own shaders get here. Each guards every index against the sizes in its parameters,
        // which `Op::check` has compared with the bound tensors, and every loop ends; so the bounds checks and loop
        // counters that wgpu would add can never act. Shader tests run at odd sizes with checks on as well.
        #[expect(unsafe_code, reason = "turns off runtime checks that cost more than the arithmetic in inner loops")]
        unsafe {
            self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    }
}

fn key(dispatch: &Dispatch) -> PipelineKey {
    (dispatch.shader.name, dispatch.constants.clone(), dispatch.overrides.clone())
}

fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: experimental features may have errors in wgpu that lead to undefined behaviour. Cooperative matrices are the
    // one used here, by two shaders written around the compiler's known error; each result is compared with the
    // reference on the device itself before such a kernel is chosen, and in the tests.
    #[expect(unsafe_code, reason = "wgpu asks for unsafe wherever an experimental feature is turned on")]
    unsafe {
        wgpu::ExperimentalFeatures::enabled()
    }
}

/// wgpu's multi-line messages as one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
