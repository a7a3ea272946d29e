//! Runs graphs on a GPU through wgpu. No other module uses wgpu.

mod adapter;
mod buffers;
mod cache;
mod compiled;
mod device;
mod executor;
mod kernels;
mod peak;
mod poller;
mod prepare;
mod profile;
mod readback;
mod single;
mod tune;
mod weights;
mod wgsl;

pub use adapter::{adapters, automatic};
pub use cache::cache_folder;
pub use executor::GpuExecutor;
pub use kernels::{Needs, SHADERS, Shader};
