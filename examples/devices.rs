//! Picks a device by hand, from what is known of each adapter: `cargo run --release --example devices`.

use vit_gpu::{Device, Model, Session, adapters};

fn main() -> vit_gpu::Result<()> {
    let adapters = adapters();
    // The first adapter whose buffers can be as large as 1 GiB, else the processor.
    let chosen = adapters.iter().position(|adapter| adapter.max_binding >= 1 << 30);
    let device = chosen.map_or(Device::Cpu, |index| Device::Named(index.to_string()));
    let session = Session::builder().device(device).build(Model::bundled()?)?;
    println!("{} of {} adapters: {}", usize::from(chosen.is_some()), adapters.len(), session.device());
    Ok(())
}
