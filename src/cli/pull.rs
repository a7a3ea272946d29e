//! `vit-gpu pull`: takes a model from the hub.

use std::path::Path;

use super::named::fetch;
use super::sizes::in_bytes;
use super::{Ended, Outcome};

/// Download a model from the Hugging Face Hub, or the part of it that the cache lacks
///
/// Prints the folder with its files. The cache is the one that Python's `huggingface_hub` uses.
#[derive(clap::Args)]
pub struct Args {
    /// A name on the hub (owner/name[@revision]) or a short name (see `vit-gpu models`)
    #[arg(value_name = "NAME")]
    name: String,
}

pub fn run(args: &Args) -> Ended {
    let pulled = fetch(&args.name)?;
    let files: Vec<u64> = sizes(&pulled.folder);
    let (count, total) = (files.len(), in_bytes(files.iter().sum()));
    log::info!("{}: {count} files, {total}, commit {}", args.name, pulled.commit);
    if let Some(base) = &pulled.base {
        log::info!("{}: it is an adapter, its base model is in {}", args.name, base.display());
    }
    println!("{}", pulled.folder.display());
    Ok(Outcome::Done)
}

/// The sizes of a folder's files.
fn sizes(folder: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.path().metadata().ok()?.len())).collect()
}
