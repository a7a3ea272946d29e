//! What is in the cache, and how to be rid of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Repo;
use super::name::Name;
use super::pull::lacks;
use super::settings::Settings;
use crate::error::{Error, Result};

/// A model in the cache.
#[derive(Debug, Clone)]
pub struct Cached {
    /// `owner/name`.
    pub repo: String,
    /// Bytes of its files; those that Python shares between models are counted for each.
    pub bytes: u64,
    /// A folder with all that is needed to run it, if there is one: of `main`, or of another commit.
    pub folder: Option<PathBuf>,
}

/// The models in the cache, by name; none if there is no cache.
///
/// # Errors
/// [`Error::Io`] if the cache can't be read.
pub fn cached(settings: &Settings) -> Result<Vec<Cached>> {
    let entries = match fs::read_dir(&settings.cache) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(&settings.cache))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut models: Vec<Cached> = names
        .filter_map(|name| name.strip_prefix("models--").map(|name| name.replacen("--", "/", 1)))
        .map(|name| {
            let repo = Repo::new(settings, &name);
            let folder = commits(&repo).into_iter().find(|commit| lacks(&repo, commit).is_none());
            Cached { repo: name, bytes: bytes(&repo.folder), folder: folder.map(|commit| repo.snapshot(&commit)) }
        })
        .collect();
    models.sort_by(|a, b| a.repo.cmp(&b.repo));
    Ok(models)
}

/// Deletes a model from the cache, whole; how many bytes that freed. `None` if it is not there.
///
/// # Errors
/// [`Error::Hub`] for what is no name; [`Error::Io`] if something can't be deleted.
pub fn remove(given: &str, settings: &Settings) -> Result<Option<u64>> {
    let repo = Repo::new(settings, &Name::parse(given)?.repo);
    if !repo.folder.is_dir() {
        return Ok(None);
    }
    let own = files(&repo.folder).into_iter().filter_map(|path| path.symlink_metadata().ok());
    let freed = own.filter(fs::Metadata::is_file).map(|metadata| metadata.len()).sum();
    fs::remove_dir_all(&repo.folder).map_err(Error::io(&repo.folder))?;
    let _ = fs::remove_dir_all(&repo.locks);
    Ok(Some(freed))
}

/// The commits in the cache, that of `main` first.
fn commits(repo: &Repo) -> Vec<String> {
    let entries = fs::read_dir(repo.folder.join("snapshots")).into_iter().flatten().flatten();
    let others = entries.filter_map(|entry| entry.file_name().into_string().ok());
    repo.commit_of("main").into_iter().chain(others).collect()
}

/// Bytes of the files below a folder, each counted once however many links lead to it.
fn bytes(folder: &Path) -> u64 {
    let real: BTreeSet<PathBuf> = files(folder).iter().filter_map(|path| path.canonicalize().ok()).collect();
    real.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Files and links below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}
