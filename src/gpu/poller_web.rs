//! In a browser nobody need poll: it calls back by itself.

use std::io;
use std::time::Duration;

use crate::executor::Signal;

/// Set by a wgpu callback, with the reason if it failed.
pub type Done = Signal<Result<(), String>>;

/// Stands where other platforms have a thread that polls.
pub struct Poller;

impl Poller {
    pub fn spawn(_: wgpu::Device, _: Duration) -> io::Result<Poller> {
        Ok(Poller)
    }

    pub fn watch(&self, _: wgpu::SubmissionIndex, _: Option<Done>) {}
}
