//! Work that takes long, away from the thread that awaits it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::{Error, Result};
use crate::executor::Signal;

/// Does the work on a thread of its own; a panic of it is the caller's.
///
/// # Errors
/// [`Error::Io`] if no thread can be had; what the work fails with.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = Signal::default();
    let set = done.clone();
    let work = move || set.set(catch_unwind(AssertUnwindSafe(work)));
    std::thread::Builder::new().name("vit-gpu".into()).spawn(work).map_err(Error::io("a thread"))?;
    done.await.unwrap_or_else(|panic| resume_unwind(panic))
}
