//! Runs a tensor through the model and prints name, shape and norm of every output, with the input of every block.

use vit_gpu::Session;
use vit_gpu::checkpoint::Checkpoint;
use vit_gpu::session::SessionOptions;

fn main() -> vit_gpu::Result<()> {
    let session = Session::new(Checkpoint::bundled()?, &SessionOptions::default())?;
    let config = &session.checkpoint().config;
    let pixel_values = vec![0.0; config.in_chans * config.img_size.0 * config.img_size.1];
    for output in session.forward(&pixel_values, true)?.0 {
        let norm = output.values.iter().map(|v| v * v).sum::<f32>().sqrt();
        println!("{:20} {:?} norm {norm:.3}", output.name, output.shape);
    }
    Ok(())
}
