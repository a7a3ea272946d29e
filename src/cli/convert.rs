//! `vit-gpu convert`: any model that loads, as safetensors in timm's names with its whole configuration.

use std::path::PathBuf;

use vit_gpu::internals::checkpoint::Storage;

use super::options::{ModelOptions, Verbosity};
use super::{Ended, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Folder to write model.safetensors and config.json to; existing files are not overwritten
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Type of the weights: f32, f16, bf16, or source (the smallest type in the source file that loses nothing)
    #[arg(long, default_value = "source", value_name = "TYPE")]
    dtype: Storage,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    verbosity: Verbosity,
}

pub fn run(args: &Args) -> Ended {
    let checkpoint = args.model.open(args.verbosity.quiet)?;
    checkpoint.save(&args.output, args.dtype)?;
    args.verbosity.say(&format!("{}: {} from {}", args.output.display(), checkpoint.name, checkpoint.family));
    Ok(Outcome::Done)
}
