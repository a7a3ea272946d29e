//! What an app is told while it waits.

use std::sync::Arc;

/// How far something is that takes long; see [`crate::SessionBuilder::on_progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Weights (tensors, not bytes) that were read, of those that the model has; before the first result.
    Weights {
        /// How many were read.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// Bytes that were downloaded of a model's weights, and that were there already of files that are continued; told by `pull`
    /// and `Model::from_hub`.
    Download {
        /// How many are there.
        done: u64,
        /// How many there will be.
        of: u64,
    },
    /// Kernels that the GPU's driver has compiled, of those that the first run waits for; not told where all are there already.
    Kernels {
        /// How many are compiled.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// Images of one call that have their results, told after each batch, also of calls with one image.
    Images {
        /// How many have.
        done: usize,
        /// How many the call was given.
        of: usize,
    },
}

/// Whom to tell, if anyone.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Listener {
    pub fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> Listener {
        Listener(Some(Arc::new(listener)))
    }

    pub fn tell(&self, progress: Progress) {
        if let Some(listener) = &self.0 {
            listener(progress);
        }
    }
}
