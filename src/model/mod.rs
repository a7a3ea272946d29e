//! What a Vision Transformer is: its configuration, its weights by canonical name, its forward pass.

pub mod arch;
mod config;
pub mod constructor;
mod features;
mod forward;
pub mod random;
mod weights;

pub use config::{Batch, Block, Head, Mlp, NormAxes, Pooling, VitConfig};
pub use forward::{Input, Maps, Request, Taps, build};
pub use weights::{WeightLoader, WeightSpec, weight_specs};
