//! `vit-gpu pull`: takes a model from the hub. The other commands find models by name through this, too.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::hub;

use super::options::Verbosity;
use super::progress::Progress;
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
    #[command(flatten)]
    verbosity: Verbosity,
}

pub fn run(args: &Args) -> Ended {
    let pulled = fetch(&args.name, args.verbosity.quiet)?;
    let files: Vec<u64> = sizes(&pulled.folder);
    let (count, total) = (files.len(), in_bytes(files.iter().sum()));
    args.verbosity.say(&format!("{}: {count} files, {total}, commit {}", args.name, pulled.commit));
    println!("{}", pulled.folder.display());
    Ok(Outcome::Done)
}

/// The path of a model: the file or folder of this name, or what the hub and its cache have under it. What is neither stays as
/// it is.
pub fn located(model: &str, quiet: bool) -> vit_gpu::Result<String> {
    // A command that opens a model several times asks once, and all have the same commit.
    static ASKED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
    if Path::new(model).exists() || model.starts_with("random:") || !hub::is_name(model) {
        return Ok(model.to_owned());
    }
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, path)) = asked.iter().find(|(name, _)| name == model) {
        return Ok(path.clone());
    }
    let folder = fetch(model, quiet)?.folder.display().to_string();
    asked.push((model.to_owned(), folder.clone()));
    Ok(folder)
}

/// Opens a model that may be named; results show the name as it was given.
pub fn named(
    model: &str,
    quiet: bool,
    open: impl FnOnce(&str) -> vit_gpu::Result<Checkpoint>,
) -> vit_gpu::Result<Checkpoint> {
    let mut checkpoint = open(&located(model, quiet)?)?;
    model.clone_into(&mut checkpoint.name);
    Ok(checkpoint)
}

fn fetch(name: &str, quiet: bool) -> vit_gpu::Result<vit_gpu::Pulled> {
    let bar = Progress::download(quiet);
    let mut begun = false;
    let pulled = vit_gpu::pull(name, |progress| {
        if let vit_gpu::Progress::Download { done, of } = progress {
            if begun {
                bar.set(done)
            } else {
                bar.begin(done, of)
            }
            begun = true;
        }
    })?;
    drop(bar);
    if let Some(note) = pulled.note.as_ref().filter(|_| !quiet) {
        eprintln!("{name}: {note}");
    }
    Ok(pulled)
}

/// The sizes of a folder's files.
fn sizes(folder: &PathBuf) -> Vec<u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.path().metadata().ok()?.len())).collect()
}
