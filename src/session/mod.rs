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
#[cfg(feature = "text")]
mod text_embedder;
mod unblock;
mod watched;
#[cfg(feature = "text")]
mod words;
#[cfg(feature = "text")]
mod zero_shot;

#[cfg(feature = "insight")]
pub(crate) use crate::executor::wait;
pub use builder::SessionBuilder;
pub use classifier::Classifier;
pub use embedder::{Embedder, normalize};
pub use handle::Session;
#[cfg(feature = "hub")]
pub use hub::{Pulled, place_of, pull};
pub use model::Model;
pub use output::{Output, Outputs};
pub use progress::Progress;
#[cfg(feature = "text")]
pub use text_embedder::TextEmbedder;
#[cfg(feature = "insight")]
pub(crate) use unblock::unblock;
#[cfg(feature = "text")]
pub use zero_shot::{TEMPLATE, ZeroShot};
