//! Buffers that results are read from, kept for the next run.

use std::sync::{Arc, Mutex, PoisonError};

use super::device::OpenDevice;
use crate::error::Result;
use crate::graph::Graph;

/// Sets of buffers that are free at the moment, with one buffer for each output of a graph. A run takes a set and gives it back
/// when it has read its results. If a run is dropped before, its set is dropped too.
#[derive(Clone, Default)]
pub struct ReadbackRing(Arc<Mutex<Vec<Vec<wgpu::Buffer>>>>);

impl ReadbackRing {
    /// A set that is free, or a new one.
    pub async fn take(&self, device: &OpenDevice, graph: &Graph) -> Result<Vec<wgpu::Buffer>> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match free {
            Some(set) => Ok(set),
            None => {
                let make =
                    || graph.outputs().iter().map(|(_, id)| device.readback(graph.tensor(*id).bytes())).collect();
                device.scoped("results", make).await
            }
        }
    }

    /// Gives back a set, whose buffers must be unmapped.
    pub fn give_back(&self, set: Vec<wgpu::Buffer>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(set);
    }
}
