//! The threads that compute.

use crate::error::Result;

/// Worker threads. Dropping it ends them once their work is done.
#[cfg(not(target_family = "wasm"))]
pub struct Pool(rayon::ThreadPool);

#[cfg(not(target_family = "wasm"))]
impl Pool {
    /// `threads` of them; 0: one per available core.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if they can't be started.
    pub fn new(threads: usize) -> Result<Pool> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("vit-gpu-cpu-{i}"))
            .build()
            .map_err(|error| crate::error::Error::device_by("cpu", error))?;
        Ok(Pool(threads))
    }

    /// Does the work on one of them.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        self.0.spawn(work);
    }
}

/// In a browser there are no other threads: all work is done on the caller's, and rayon divides nothing.
#[cfg(target_family = "wasm")]
pub struct Pool;

#[cfg(target_family = "wasm")]
impl Pool {
    pub fn new(_: usize) -> Result<Pool> {
        Ok(Pool)
    }

    pub fn spawn(&self, work: impl FnOnce()) {
        work();
    }
}
