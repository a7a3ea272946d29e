//! Measures the time of each operation with timestamp queries.

use std::sync::Arc;

use super::executor::GpuExecutor;
use crate::error::Result;
use crate::executor::{Inputs, OpTime};
use crate::graph::Plan;

impl GpuExecutor {
    /// Runs a graph with a separate pass and two timestamps for each operation; `None` if the adapter has no timestamps. Separate
    /// passes cost some microseconds each, so the times add up to more than a normal run takes.
    pub(super) async fn time_each(&self, plan: &Arc<Plan>, inputs: &Inputs<'_>) -> Result<Option<Vec<OpTime>>> {
        let device = &*self.device;
        if !device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let mut resources = self.resources.lock().await;
        let index = resources.prepared(device, self.capabilities, plan).await?;
        let prepared = &resources.plans[index];
        self.upload(prepared, inputs)?;
        let count = prepared.steps.len() as u32;
        let bytes = 16 * u64::from(count);
        let (queries, resolved, readback) = device
            .scoped("timestamps", || {
                let queries = device.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2 * count,
                });
                let resolved = device.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size: bytes,
                    usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                });
                (queries, resolved, device.readback(bytes))
            })
            .await?;
        // One submit per operation, so that no submit is long enough for the operating system to reset the GPU.
        for (i, step) in prepared.steps.iter().enumerate() {
            let mut encoder = device.device.create_command_encoder(&Default::default());
            let writes = wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(2 * i as u32),
                end_of_pass_write_index: Some(2 * i as u32 + 1),
            };
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
            step.record(&mut encoder.begin_compute_pass(&descriptor));
            device.submit(&step.label, [encoder.finish()]);
        }
        let mut encoder = device.device.create_command_encoder(&Default::default());
        encoder.resolve_query_set(&queries, 0..2 * count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &readback, 0, bytes);
        for signal in
            device.submit_and_map("the reading of timestamps", encoder.finish(), std::slice::from_ref(&readback))
        {
            device.wait(signal).await?;
        }
        let mapped = readback.slice(..).get_mapped_range().map_err(|error| device.error(error.to_string()))?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&mapped);
        let seconds = 1e-9 * f64::from(device.queue.get_timestamp_period());
        let times = prepared.steps.iter().zip(ticks.chunks_exact(2)).map(|(step, ticks)| OpTime {
            label: step.label.clone(),
            kernel: step.kernel,
            seconds: ticks[1].saturating_sub(ticks[0]) as f64 * seconds,
            cost: step.cost,
        });
        Ok(Some(times.collect()))
    }
}
