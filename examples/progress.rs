//! Many pictures, with progress, and without blocking: `cargo run --release --example progress -- a.png b.png …`.

use vit_gpu::{Classifier, Image, Model, Progress, Session};

async fn labels(paths: Vec<String>) -> vit_gpu::Result<()> {
    let builder = Session::builder().on_progress(|progress| match progress {
        Progress::Weights { done, of } => eprintln!("weights: {done} of {of}"),
        Progress::Images { done, of } => eprintln!("images: {done} of {of}"),
        _ => {}
    });
    let session = builder.build_async(Model::bundled()?).await?;
    let classifier = Classifier::new(session)?.top_k(1);
    // A picture that can't be read, or has no result, costs the others nothing.
    let (images, errors): (Vec<_>, Vec<_>) = paths.iter().map(Image::open).partition(|image| image.is_ok());
    errors.iter().flat_map(|error| error.as_ref().err()).for_each(|error| eprintln!("{error}"));
    let images: Vec<Image> = images.into_iter().flatten().collect();
    for result in classifier.classify_async(&images).await? {
        match result {
            Ok(best) => println!("{}", best[0].label.as_deref().unwrap_or("?")),
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}

fn main() -> vit_gpu::Result<()> {
    pollster::block_on(labels(std::env::args().skip(1).collect()))
}
