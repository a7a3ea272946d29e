//! The thread that makes wgpu's callbacks run on native platforms, by polling the device.

use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::executor::Signal;

/// Set by a wgpu callback, with the reason if it failed.
pub type Done = Signal<Result<(), String>>;

/// Waits for a callback that is due; fails the signal if it does not come.
fn expect_soon(signal: &Done, patience: Duration) {
    let since = Instant::now();
    while !signal.is_set() {
        if since.elapsed() > patience {
            return signal.set(Err("the device finished without answering".to_owned()));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

type Watched = (wgpu::SubmissionIndex, Option<Done>);

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
                    // Another thread's submit may have taken this callback and may be about to run it.
                    Ok(_) => expect_soon(&signal, patience),
                    Err(error) => signal.set(Err(error.to_string())),
                }
            }
        })?;
        Ok(Poller { sender: Some(sender), thread: Some(thread) })
    }

    /// Has the device polled until `index` is done; `signal` fails if nothing has set it by then.
    pub fn watch(&self, index: wgpu::SubmissionIndex, signal: Option<Done>) {
        let Some(sender) = &self.sender else { return };
        if let Err(mpsc::SendError((_, Some(signal)))) = sender.send((index, signal)) {
            signal.set(Err("the polling thread has ended".to_owned()));
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.sender = None;
        // A callback may drop the last handle of a session on this thread, which can't wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}
