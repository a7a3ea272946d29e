//! Which label fits a picture: `cargo run --release --example zero_shot -- MODEL photo.jpg "a cat" "a dog"`.

use vit_gpu::{Image, ZeroShot};

fn main() -> vit_gpu::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, photo, labels @ ..] = &args[..] else {
        eprintln!("usage: zero_shot MODEL IMAGE LABEL…");
        return Ok(());
    };
    // The labels are embedded once, however many images follow.
    let zero_shot = ZeroShot::open(model, labels)?;
    for prediction in zero_shot.classify(&Image::open(photo)?)? {
        println!("{:5.1} %  {}", 100.0 * prediction.score, prediction.label.unwrap_or_default());
    }
    Ok(())
}
