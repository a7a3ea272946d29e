//! The WebAssembly half of the npm package `vit-gpu`. It uses the public items of the crate alone, and runs in a worker
//! (`../src/worker.ts`), which is its only caller.
//!
//! What JavaScript hands over is touched in `functions.rs`; everything else works on bytes, texts and numbers.

mod crash;
mod errors;
mod functions;
mod image;
mod map;
mod model;
mod session;

pub use crash::last_panic;
pub use image::Image;
pub use map::Map;
pub use model::Model;
pub use session::Session;
