//! Runs graphs on a GPU through wgpu. No other module uses wgpu.

mod adapter;
mod bound;
mod buffers;
mod cache;
mod device;
mod executor;
mod kernels;
mod one_op;
mod peak;
mod pipeline_cache;
#[cfg_attr(target_family = "wasm", path = "poller_web.rs")]
mod poller;
mod prepare;
mod probe;
mod profile;
mod readback;
mod tune;
mod weights;
mod wgsl;

pub use adapter::{adapters, automatic};
pub use cache::cache_folder;
pub use executor::GpuExecutor;
pub use kernels::{Needs, Reachable, SHADERS, Shader, reachable};
