//! Prints how similar two images are (cosine, -1 to 1): `cargo run --release --example embed -- a.png b.png`.

use vit_gpu::checkpoint::Checkpoint;
use vit_gpu::session::SessionOptions;
use vit_gpu::{Image, Session};

fn main() -> vit_gpu::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let images = paths.iter().map(Image::open).collect::<vit_gpu::Result<Vec<_>>>()?;
    let session = Session::new(Checkpoint::bundled()?, &SessionOptions::default())?;
    let vectors = session.embed(&images)?;
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for pair in vectors.windows(2) {
        println!("{:.3}", cosine(&pair[0], &pair[1]));
    }
    Ok(())
}
