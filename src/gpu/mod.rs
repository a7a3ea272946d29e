//! Runs a plan on a GPU through wgpu. The only place that names wgpu.

mod adapter;
mod buffers;
mod device;
mod executor;
mod kernels;
mod prepare;
mod signal;
mod single;
mod weights;

pub use adapter::{AdapterReport, DeviceRequest, Kernels, adapters, automatic};
pub use executor::GpuExecutor;
pub use kernels::{SHADERS, Shader};
