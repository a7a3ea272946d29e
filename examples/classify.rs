//! Prints the five most probable classes of an image: `cargo run --release --example classify -- cat.png [MODEL]`.

use vit_gpu::{Classifier, Image};

fn main() -> vit_gpu::Result<()> {
    let mut args = std::env::args().skip(1);
    let image = Image::open(args.next().unwrap_or_else(|| "assets/cat.png".into()))?;
    let classifier = match args.next() {
        Some(model) => Classifier::open(model)?,
        None => Classifier::bundled()?,
    };
    for prediction in classifier.classify(&image)? {
        println!("{:5.1} %  {}", 100.0 * prediction.score, prediction.label.unwrap_or_default());
    }
    println!("on {}", classifier.session().device());
    Ok(())
}
