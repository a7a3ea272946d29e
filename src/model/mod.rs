//! What a Vision Transformer is: its configuration, its weights by canonical name, its forward pass.

pub mod arch;
mod attends;
mod config;
pub mod constructor;
mod features;
mod forward;
pub mod random;
mod text;
mod weights;

pub use attends::Attends;
pub use config::{Batch, Block, Head, Mlp, NormAxes, Pooling, VitConfig};
pub use forward::{Input, Maps, Request, Taps, build};
pub use text::{TEXT, TextConfig, TextPooling};
pub use weights::{WeightLoader, WeightSpec, text_weight_specs, weight_specs};
