//! How functions that block wait for asynchronous work.

use std::future::Future;

use crate::error::Result;

/// Waits for a future's result.
///
/// # Errors
/// Its own. In a browser, where nothing may block, [`crate::Error::Blocking`] if the result is not there at once.
#[cfg(not(target_family = "wasm"))]
pub fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    pollster::block_on(future)
}

/// As on other platforms, for what never has to wait.
#[cfg(target_family = "wasm")]
pub fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    use std::task::{Context, Poll, Waker};

    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(crate::error::Error::Blocking),
    }
}
