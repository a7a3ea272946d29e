//! A value that one thread sets once and another awaits.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

enum State<T> {
    Waiting(Option<Waker>),
    Set(T),
    Taken,
}

/// Set once, awaited once; clones share the state.
pub struct Signal<T>(Arc<Mutex<State<T>>>);

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Signal(Arc::clone(&self.0))
    }
}

impl<T> Default for Signal<T> {
    fn default() -> Self {
        Signal(Arc::new(Mutex::new(State::Waiting(None))))
    }
}

impl<T> Signal<T> {
    /// Sets the value and wakes whoever awaits it; later calls change nothing.
    pub fn set(&self, value: T) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let State::Waiting(waker) = &mut *state else { return };
            let waker = waker.take();
            *state = State::Set(value);
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the value was set.
    pub fn is_set(&self) -> bool {
        !matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Waiting(_))
    }
}

impl<T> Future for Signal<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Set(value) => Poll::Ready(value),
            State::Waiting(_) | State::Taken => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Work as a job for any thread, and its result to await there; if the work panics, whoever awaits it does.
pub fn job<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (impl FnOnce() + Send + 'static, impl Future<Output = T> + Send + 'static) {
    let done = Signal::default();
    let set = done.clone();
    let run = move || set.set(catch_unwind(AssertUnwindSafe(work)));
    (run, async move { done.await.unwrap_or_else(|panic| resume_unwind(panic)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_awaited() {
        let signal = Signal::default();
        assert!(!signal.is_set());
        let setter = signal.clone();
        let thread = std::thread::spawn(move || {
            setter.set(1);
            setter.set(2);
            setter
        });
        assert_eq!(pollster::block_on(signal), 1);
        let setter = thread.join().unwrap();
        setter.set(3);
        assert!(setter.is_set());
    }
}
