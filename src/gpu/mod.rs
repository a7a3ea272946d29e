//! Runs a plan on a GPU through wgpu. The only place that names wgpu.

mod adapter;
mod buffers;
mod cache;
mod compiled;
mod device;
mod executor;
mod kernels;
mod peak;
mod prepare;
mod profile;
mod readback;
mod signal;
mod single;
mod tune;
mod weights;
mod wgsl;

pub use adapter::{AdapterReport, DeviceRequest, Kernels, MatrixShape, adapters, automatic};
pub use cache::cache_folder;
pub use executor::{GpuExecutor, Running};
pub use kernels::{Needs, SHADERS, Shader};
pub use prepare::Startup;
pub use profile::OpTime;
pub use tune::Choice;
