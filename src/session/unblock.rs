//! Work that takes long, away from the thread that awaits it.

use crate::error::{Error, Result};
use crate::executor::job;

/// Does the work on a thread of its own; a panic of it is the caller's.
///
/// # Errors
/// [`Error::Io`] if no thread can be had; what the work fails with.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (job, done) = job(work);
    std::thread::Builder::new().name("vit-gpu".into()).spawn(job).map_err(Error::io("a thread"))?;
    done.await
}
