//! How well a text describes pictures: `cargo run --release --example words -- MODEL "two parrots" a.png b.png`.

use vit_gpu::{Embedder, Image, Session, TextEmbedder};

fn main() -> vit_gpu::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(text)) = (args.next(), args.next()) else {
        eprintln!("usage: words MODEL TEXT IMAGE…");
        return Ok(());
    };
    let session = Session::open(model)?;
    let text = TextEmbedder::new(session.clone())?.normalized(true).embed(&text)?;
    let images = Embedder::new(session).normalized(true);
    for path in args {
        // Vectors of length 1: their dot product is the cosine of the angle between them.
        let image = images.embed(&Image::open(&path)?)?;
        let cosine: f32 = image.iter().zip(&text).map(|(a, b)| a * b).sum();
        println!("{cosine:.3}  {path}");
    }
    Ok(())
}
