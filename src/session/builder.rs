//! Where and how a session runs.

use std::path::Path;
use std::sync::Arc;

use super::engine::Engine;
use super::handle::Session;
use super::model::Model;
use super::progress::{Listener, Progress};
use super::unblock::unblock;
use super::watched::Watched;
use crate::device::{Device, Kernels};
use crate::error::{Error, Result};
use crate::executor::{Executor, wait};
use crate::graph::Precision;
use crate::model::WeightLoader;

/// Decides where and how a model runs; see [`Session::builder`].
///
/// ```
/// # #[cfg(feature = "bundled")]
/// # fn main() -> vit_gpu::Result<()> {
/// use vit_gpu::{Device, Model, Precision, Session};
///
/// let session = Session::builder().device(Device::Cpu).threads(2).build(Model::bundled()?)?;
/// assert_eq!((session.device(), session.precision()), ("cpu", Precision::F32));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "bundled"))]
/// # fn main() {}
/// ```
#[derive(Clone, Default)]
pub struct SessionBuilder {
    device: Device,
    precision: Precision,
    kernels: Kernels,
    threads: usize,
    listener: Listener,
}

impl Session {
    /// What decides where and how a model runs.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// Opens a model's files on the best device, in f32.
    ///
    /// # Errors
    /// As [`Model::open`] and [`SessionBuilder::build`].
    pub fn open(path: impl AsRef<Path>) -> Result<Session> {
        Session::builder().build(Model::open(path)?)
    }
}

impl std::fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SessionBuilder { device, precision, kernels, threads, .. } = self;
        let mut shown = f.debug_struct("SessionBuilder");
        shown.field("device", device).field("precision", precision).field("kernels", kernels);
        shown.field("threads", threads).finish_non_exhaustive()
    }
}

impl SessionBuilder {
    /// The device; [`Device::Auto`] without this.
    #[must_use]
    pub fn device(self, device: Device) -> Self {
        SessionBuilder { device, ..self }
    }

    /// What weights and activations are stored in; [`Precision::F32`] without this. The processor has f32 and i8, GPUs f32
    /// and, most of them, f16.
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        SessionBuilder { precision, ..self }
    }

    /// Threads on the processor; 0, which is what holds without this, takes one per available core.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        SessionBuilder { threads, ..self }
    }

    /// Calls `listener` while weights are read, and after each batch of a call's images; from any thread, so it must be quick.
    #[must_use]
    pub fn on_progress(self, listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        SessionBuilder { listener: Listener::new(listener), ..self }
    }

    /// Which family of GPU kernels to use.
    #[doc(hidden)]
    #[must_use]
    pub fn kernels(self, kernels: Kernels) -> Self {
        SessionBuilder { kernels, ..self }
    }

    /// Puts a [`Model`] on the device. Weights are read when they are first needed.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if nothing (or too much) matches; [`Error::Device`] if the device can't be opened;
    /// [`Error::Precision`] if it does not compute in the precision; [`Error::Feature`] if this build lacks the kind of device.
    pub fn build(self, model: impl Into<Model>) -> Result<Session> {
        wait(self.open(model.into()))
    }

    /// As [`SessionBuilder::build`], without blocking.
    ///
    /// # Errors
    /// As [`SessionBuilder::build`].
    pub async fn build_async(self, model: impl Into<Model>) -> Result<Session> {
        let model = model.into();
        unblock(async move || self.open(model).await).await
    }

    async fn open(self, model: Model) -> Result<Session> {
        let weights = Arc::new(Watched::new(&model, self.precision, self.listener.clone())?);
        let loader: Arc<dyn WeightLoader> = Arc::<Watched>::clone(&weights);
        // Only the processor can run i8, so `auto` means the processor here.
        let device = match (self.precision, &self.device) {
            (Precision::I8, Device::Auto) => &Device::Cpu,
            (_, asked) => asked,
        };
        let (executor, note) = match self.gpu(device, Arc::clone(&loader)).await? {
            Some(gpu) => (gpu, None),
            None => {
                // Why no GPU was taken.
                let reason = match device {
                    Device::Auto => Some(no_gpu().await),
                    _ => None,
                };
                if self.precision == Precision::F16 {
                    return Err(match reason {
                        Some(reason) => {
                            let reason = format!("f16 needs a GPU: {reason}");
                            Error::NoDevice { request: self.device.to_string(), reason }
                        }
                        None => Error::Precision { device: "cpu".into(), precision: "f16", available: &["f32", "i8"] },
                    });
                }
                (self.cpu(loader, reason.as_deref())?, self.note(reason))
            }
        };
        Ok(Session::of(Engine::new(model, executor, weights, self.precision, note, self.listener)))
    }

    /// What a user should know of a run on the processor; `no_gpu` says why one that asked for the best device runs there.
    fn note(&self, no_gpu: Option<String>) -> Option<String> {
        if self.precision == Precision::I8 && !has_dot_products() {
            return Some("this processor has no AVX-512 VNNI: i8 is slower than f32 here".to_owned());
        }
        if self.precision == Precision::I8 && self.device == Device::Auto {
            return Some("i8 runs on the processor".to_owned());
        }
        no_gpu.map(|reason| format!("no GPU is used ({reason}): running on the processor"))
    }

    /// The GPU that a request means; `None` where it means the processor.
    #[cfg(feature = "gpu")]
    async fn gpu(&self, device: &Device, loader: Arc<dyn WeightLoader>) -> Result<Option<Box<dyn Executor>>> {
        let opened = crate::gpu::GpuExecutor::open(device, self.kernels, self.precision, loader).await?;
        Ok(opened.map(|mut gpu| {
            let listener = self.listener.clone();
            gpu.on_compiled(move |done, of| listener.tell(Progress::Kernels { done, of }));
            Box::new(gpu) as Box<dyn Executor>
        }))
    }

    #[cfg(not(feature = "gpu"))]
    async fn gpu(&self, device: &Device, _: Arc<dyn WeightLoader>) -> Result<Option<Box<dyn Executor>>> {
        match device {
            Device::Auto | Device::Cpu => Ok(None),
            other => Err(Error::Feature { what: format!("device `{other}`"), feature: "gpu" }),
        }
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, loader: Arc<dyn WeightLoader>, _no_gpu: Option<&str>) -> Result<Box<dyn Executor>> {
        Ok(Box::new(crate::cpu::CpuExecutor::new(loader, self.threads)?))
    }

    #[cfg(not(feature = "cpu"))]
    fn cpu(&self, _: Arc<dyn WeightLoader>, no_gpu: Option<&str>) -> Result<Box<dyn Executor>> {
        Err(match no_gpu {
            Some(reason) => {
                let reason =
                    format!("no GPU can be used ({reason}), and this build of vit-gpu lacks the feature `cpu`");
                Error::NoDevice { request: self.device.to_string(), reason }
            }
            None => Error::Feature { what: "the processor".into(), feature: "cpu" },
        })
    }
}

#[cfg(feature = "gpu")]
async fn no_gpu() -> String {
    crate::gpu::automatic(&crate::gpu::adapters().await).1
}

#[cfg(not(feature = "gpu"))]
async fn no_gpu() -> String {
    "this build of vit-gpu lacks the feature `gpu`".to_owned()
}

#[cfg(feature = "cpu")]
fn has_dot_products() -> bool {
    crate::cpu::CpuExecutor::has_dot_products()
}

#[cfg(not(feature = "cpu"))]
fn has_dot_products() -> bool {
    false
}
