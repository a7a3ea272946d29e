//! draft
pub mod checkpoint;
pub mod cpu;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod labels;
pub mod model;
pub mod ops;
pub mod preprocess;
pub mod session;
pub use error::{Error, Result};
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<session::Session>();
};
