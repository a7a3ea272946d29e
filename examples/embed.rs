//! How alike pictures are, each and the next: `cargo run --release --example embed -- a.png b.png`.

use vit_gpu::{Embedder, Image, Model, Session};

fn main() -> vit_gpu::Result<()> {
    let paths = std::env::args().skip(1);
    let images = paths.map(Image::open).collect::<vit_gpu::Result<Vec<_>>>()?;
    let session = Session::builder().build(Model::bundled()?)?;
    let vectors = Embedder::new(session).normalized(true).embed_batch(&images)?;
    let vectors = vectors.into_iter().collect::<vit_gpu::Result<Vec<_>>>()?;
    for pair in vectors.windows(2) {
        // Vectors of length 1: their dot product is the cosine of the angle between them.
        let cosine: f32 = pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum();
        println!("{cosine:.3}");
    }
    Ok(())
}
