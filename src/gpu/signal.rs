//! A one-shot result set by a wgpu callback and awaited by the run that asked for it, and the thread that makes
//! callbacks happen on native platforms.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    result: Option<Result<(), String>>,
    waker: Option<Waker>,
}

/// Set once, awaited once; clones share the state.
#[derive(Clone, Default)]
pub struct Signal(Arc<Mutex<State>>);

impl Signal {
    /// Sets the result and wakes whoever awaits it; later calls change nothing.
    pub fn set(&self, result: Result<(), String>) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.result.get_or_insert(result);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Signal {
    /// Waits for a callback that is due; fails the signal if it does not come.
    fn expect_soon(&self, patience: Duration) {
        let since = Instant::now();
        while self.0.lock().unwrap_or_else(PoisonError::into_inner).result.is_none() {
            if since.elapsed() > patience {
                return self.set(Err("the device finished without answering".to_owned()));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Future for Signal {
    type Output = Result<(), String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = state.result.clone() {
            return Poll::Ready(result);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

type Watched = (wgpu::SubmissionIndex, Option<Signal>);

/// A thread that polls the device until each submission it is told of is done. Dropping it waits for the thread, so that no
/// driver code runs while the process ends.
pub struct Poller {
    sender: Option<Sender<Watched>>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Starts the thread; a submission that takes longer than `patience` counts as stuck.
    pub fn spawn(device: wgpu::Device, patience: Duration) -> std::io::Result<Poller> {
        let (sender, receiver) = mpsc::channel::<Watched>();
        let thread = std::thread::Builder::new().name("vit-gpu-poll".into()).spawn(move || {
            while let Ok((index, signal)) = receiver.recv() {
                let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(patience) };
                let polled = device.poll(wait);
                let Some(signal) = signal else { continue };
                match polled {
                    // Another thread's submit may have taken our callback and be about to run it.
                    Ok(_) => signal.expect_soon(patience),
                    Err(error) => signal.set(Err(error.to_string())),
                }
            }
        })?;
        Ok(Poller { sender: Some(sender), thread: Some(thread) })
    }

    /// Has the device polled until `index` is done; `signal` fails if nothing has set it by then.
    pub fn watch(&self, index: wgpu::SubmissionIndex, signal: Option<Signal>) {
        let Some(sender) = &self.sender else { return };
        if let Err(mpsc::SendError((_, Some(signal)))) = sender.send((index, signal)) {
            signal.set(Err("the polling thread has ended".to_owned()));
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.sender = None;
        // A callback may hold the last handle of a session: a thread can't wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}
