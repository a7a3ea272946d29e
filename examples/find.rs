//! Photos by a description: `cargo run --release --example find -- MODEL FOLDER "two parrots on a branch"`.

use std::path::Path;

use vit_gpu::index::{Index, IndexWriter, Stamp};
use vit_gpu::{Embedder, Image, Session, TextEmbedder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder, words] = &args[..] else {
        eprintln!("usage: find MODEL FOLDER WORDS");
        return Ok(());
    };
    let session = Session::open(model)?;
    let (images, texts) = (Embedder::new(session.clone()), TextEmbedder::new(session.clone())?);

    // The index is beside the photos. Photos that have not changed since the last time are not read again.
    let file = Path::new(folder).join("photos.index");
    let mut writer = IndexWriter::open(&file, &session)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let stamp = Stamp::of(&path.metadata()?);
        let unchanged = writer.photos().get(&path).is_some_and(|known| known.stamp == stamp);
        // What is no photo has no image.
        if let (false, Ok(image)) = (unchanged, Image::open(&path)) {
            writer.add_file(&path, &images.embed(&image)?)?;
        }
    }
    writer.commit()?;

    for hit in Index::open(&file)?.search(&texts.embed(words)?, 5)? {
        println!("{:.3}  {}", hit.score, hit.path.display());
    }
    Ok(())
}
