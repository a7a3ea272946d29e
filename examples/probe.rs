//! Classes of your own: `cargo run --release --example probe -- photos`, where `photos` has a folder for each class.

use vit_gpu::insight::{Features, Head, HeadKind, Training, folds, train_linear};
use vit_gpu::{Image, Model, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let (mut labels, mut images, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in std::fs::read_dir(folder)? {
        let class = class?;
        for photo in std::fs::read_dir(class.path())? {
            images.push(Image::open(photo?.path())?);
            classes.push(labels.len());
        }
        labels.push(class.file_name().to_string_lossy().into_owned());
    }
    let session = Session::builder().build(Model::bundled()?)?;
    let features = Features::all(session.model());
    let rows = features.of(&session, &images)?.into_iter().collect::<vit_gpu::Result<Vec<_>>>()?;
    let training = Training { grid: Training::usual_grid(), folds: folds(&classes, 5, 0)? };
    let trained = train_linear(&rows, &classes, labels.len(), &training)?;
    let head = Head::new(&session, features, labels, HeadKind::Linear(trained.classifier))?;
    head.save("head.safetensors")?;
    for (c, accuracy) in trained.accuracies {
        println!("C {c:.1e}: {:.1} % right in cross-validation", 100.0 * accuracy);
    }
    Ok(())
}
