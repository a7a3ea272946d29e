//! Work that takes long, away from the thread that awaits it.

use crate::error::Result;

/// Does the work on a thread of its own; a panic of it is the caller's.
///
/// # Errors
/// [`crate::Error::Io`] if no thread can be had; what the work fails with.
#[cfg(not(target_family = "wasm"))]
pub async fn unblock<T: Send + 'static>(work: impl AsyncFnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    use crate::error::Error;
    use crate::executor::{job, wait};

    let (job, done) = job(move || wait(work()));
    std::thread::Builder::new().name("vit-gpu".into()).spawn(job).map_err(Error::io("a thread"))?;
    done.await
}

/// Does the work where it is awaited: a browser has no other thread for it. An app that must not stand still meanwhile runs in
/// a worker.
#[cfg(target_family = "wasm")]
pub async fn unblock<T>(work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    work().await
}
