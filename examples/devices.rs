//! Chooses a device in code: the reports have everything that `vit-gpu devices` prints.

use vit_gpu::checkpoint::Checkpoint;
use vit_gpu::gpu::{DeviceRequest, adapters};
use vit_gpu::session::{Session, SessionOptions};

fn main() -> vit_gpu::Result<()> {
    let adapters = pollster::block_on(adapters());
    // The first adapter that can bind a gibibyte at once, or the processor if there is none.
    let chosen = adapters.iter().position(|adapter| adapter.max_binding >= 1 << 30);
    let device = chosen.map_or(DeviceRequest::Cpu, |index| DeviceRequest::Named(index.to_string()));
    let session = Session::new(Checkpoint::bundled()?, &SessionOptions { device, ..SessionOptions::default() })?;
    println!("{} of {} adapters: {}", usize::from(chosen.is_some()), adapters.len(), session.device());
    Ok(())
}
