//! Tensors in, tensors out: the size of every block's input for a grey image: `cargo run --release --example taps`.

use vit_gpu::{Model, Session};

fn main() -> vit_gpu::Result<()> {
    let session = Session::builder().build(Model::bundled()?)?;
    let (height, width) = session.model().image_size();
    let pixel_values = vec![0.0; 3 * height * width];
    for output in session.forward(&pixel_values, true)?.0 {
        let norm = output.values.iter().map(|v| v * v).sum::<f32>().sqrt();
        println!("{:20} {:?} norm {norm:.3}", output.name, output.shape);
    }
    Ok(())
}
