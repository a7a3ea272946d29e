#![doc = include_str!("../README.md")]

pub mod checkpoint;
pub mod cpu;
mod error;
pub mod executor;
pub mod gpu;
pub mod graph;
pub mod labels;
pub mod model;
pub mod ops;
pub mod preprocess;
pub mod session;

pub use error::{Error, Result};
pub use labels::Prediction;
pub use preprocess::Image;
pub use session::{Classifier, Session};

/// A session is shared between threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Session>();
};
