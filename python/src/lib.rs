//! The native half of the Python package `vit_gpu`. It uses the public items of the crate alone.
//!
//! Python's objects are touched in `images.rs` (what comes in) and `results.rs` (what goes out). Everything between them, which is
//! decoding, preprocessing and computing, runs in `batches.rs` without the interpreter's lock.

mod batches;
mod classifier;
mod embedder;
mod errors;
mod images;
mod options;
mod results;
mod texts;
mod zero_shot;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::classifier::Classifier;
    #[pymodule_export]
    use crate::embedder::Embedder;
    #[pymodule_export]
    use crate::results::adapters;
    #[pymodule_export]
    use crate::zero_shot::ZeroShot;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
