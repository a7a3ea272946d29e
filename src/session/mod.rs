//! A model on a device, ready to run. This is the main interface for applications.

mod builder;
mod classifier;
mod embedder;
mod engine;
mod handle;
#[cfg(feature = "hub")]
mod hub;
mod located;
mod maps;
mod model;
mod output;
mod progress;
mod tasks;
mod unblock;
mod watched;

pub use builder::SessionBuilder;
pub use classifier::Classifier;
pub use embedder::{Embedder, normalize};
pub use handle::Session;
#[cfg(feature = "hub")]
pub use hub::{Pulled, pull};
pub use model::Model;
pub use output::{Output, Outputs};
pub use progress::Progress;
