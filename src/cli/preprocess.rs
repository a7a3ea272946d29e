//! `vit-gpu preprocess`: writes the tensor that the model is given for an image.

use std::path::{Path, PathBuf};

use vit_gpu::internals::checkpoint::Checkpoint;

use super::inputs::{Input, named};
use super::options::{ImageOptions, ModelOptions};
use super::outputs::write_tensors;
use super::{Ended, Outcome, named};

#[derive(clap::Args)]
pub struct Args {
    /// The image, or - for standard input
    #[arg(value_name = "IMAGE|-")]
    image: String,
    /// The .safetensors file to write `pixel_values` [1, 3, H, W] to
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    reading: ImageOptions,
    #[command(flatten)]
    model: ModelOptions,
}

pub fn run(args: &Args) -> Ended {
    // If the configuration files are enough, the weights are not read.
    let transform = match &args.model.model {
        Some(model) => {
            let path = named::located(model)?;
            Checkpoint::transform_only(&path, args.model.image_size)?
        }
        None => args.model.open()?.transform,
    };
    let input = if args.image == "-" { Input::Stdin } else { Input::File(Path::new(&args.image).into()) };
    let image = args.reading.reading().decode(&input.bytes()?, &input.name())?;
    let pixels = transform.apply(&image).map_err(|error| named(error, &input))?;
    let (h, w) = pixels.size;
    write_tensors(&args.output, &[("pixel_values", vec![1, 3, h, w], &pixels.planes(&transform.table()))], None)?;
    log::debug!("{transform:?}");
    Ok(Outcome::Done)
}
