//! One model's folder in the cache, laid out as Python's `huggingface_hub` does it:
//!
//! ```text
//! models--owner--name/blobs/DIGEST               what was downloaded
//! models--owner--name/snapshots/COMMIT/FILE      a link to a blob
//! models--owner--name/refs/REVISION              the commit of a branch or tag
//! models--owner--name/.no_exist/COMMIT/FILE      the model has no such file
//! .locks/models--owner--name/DIGEST.lock         locked while a blob is downloaded
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::digest::Digest;
use super::name::{is_commit, is_file_name};
use super::settings::Settings;
use crate::error::{Error, Result};

/// What tools for backups look for, so that they leave the cache out. The text is the one that Python writes.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#\thttps://bford.info/cachedir/
";

/// One model's folder. It may not exist yet.
pub struct Repo {
    root: PathBuf,
    pub folder: PathBuf,
    pub locks: PathBuf,
}

impl Repo {
    pub fn new(settings: &Settings, repo: &str) -> Repo {
        let name = format!("models--{}", repo.replace('/', "--"));
        let root = settings.cache.clone();
        Repo { folder: root.join(&name), locks: root.join(".locks").join(&name), root }
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.text())
    }

    pub fn lock(&self, digest: &Digest) -> PathBuf {
        self.locks.join(format!("{}.lock", digest.text()))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where a file of a commit is found.
    pub fn pointer(&self, commit: &str, file: &str) -> PathBuf {
        self.snapshot(commit).join(file)
    }

    /// Whether a file of a commit is there, whole: a link to nothing is not.
    pub fn has(&self, commit: &str, file: &str) -> bool {
        self.pointer(commit, file).is_file()
    }

    /// The files in the top folder of a commit that are there.
    pub fn files(&self, commit: &str) -> Vec<String> {
        let entries = fs::read_dir(self.snapshot(commit)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_file_name(name) && self.has(commit, name)).collect();
        names.sort();
        names
    }

    /// The commit that a branch or tag was when it was last taken from the hub; a commit is itself.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Keeps the commit of a branch or tag. A reader sees the old one or the new one.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write(&self.folder.join("refs").join(revision), commit)
    }

    /// Whether it is known that the commit has no such file: Python and `pull` keep what they asked for in vain, and Python may
    /// have a list of all files.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        let listed = || {
            let list = fs::read(self.folder.join("trees").join(format!("{commit}.json"))).ok()?;
            let list: Value = serde_json::from_slice(&list).ok()?;
            (list["format_version"] == 1).then(|| list["files"].as_object().is_some_and(|all| !all.contains_key(file)))
        };
        self.absent(commit, file).is_file() || listed() == Some(true)
    }

    /// Keeps that the commit has no such file. Where that can't be written, the next start asks again.
    pub fn mark_absent(&self, commit: &str, file: &str) {
        let path = self.absent(commit, file);
        if !path.exists() {
            let _ = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, ""));
        }
    }

    fn absent(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(file)
    }

    /// Makes the folders that downloads need, and tags the cache as one.
    pub fn prepare(&self, commit: &str) -> Result<()> {
        for folder in [self.folder.join("blobs"), self.snapshot(commit)] {
            fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        let tag = self.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            let _ = fs::write(tag, TAG);
        }
        Ok(())
    }
}

/// Writes a small file whole or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    let whole = || -> io::Result<()> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{:08x}.tmp", std::process::id()));
        fs::write(&part, text)?;
        fs::rename(&part, path).inspect_err(|_| drop(fs::remove_file(&part)))
    };
    whole().map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(root: &Path) -> Repo {
        let settings = Settings::read(&|_| None, root.to_path_buf());
        Repo::new(&Settings { cache: root.to_path_buf(), ..settings }, "a/b-c")
    }

    #[test]
    fn revisions_are_remembered_and_nonsense_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let repo = repo(folder.path());
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        assert_eq!((repo.commit_of("main"), repo.commit_of(&one)), (None, Some(one.clone())));
        for commit in [&one, &two] {
            repo.remember("refs/pr/1", commit).unwrap();
            assert_eq!(repo.commit_of("refs/pr/1").as_ref(), Some(commit));
        }
        let file = folder.path().join("models--a--b-c/refs/refs/pr/1");
        assert_eq!(fs::read_to_string(&file).unwrap(), two);
        for nonsense in ["", "../../..", &one[1..]] {
            fs::write(&file, nonsense).unwrap();
            assert_eq!(repo.commit_of("refs/pr/1"), None, "{nonsense}");
        }
    }

    #[test]
    fn what_is_absent_is_known_from_marks_and_lists() {
        let folder = tempfile::tempdir().unwrap();
        let repo = repo(folder.path());
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        assert!(!repo.is_absent(&one, "config.json"));
        repo.mark_absent(&one, "config.json");
        assert!(repo.is_absent(&one, "config.json") && !repo.is_absent(&two, "config.json"));
        let trees = folder.path().join("models--a--b-c/trees");
        fs::create_dir_all(&trees).unwrap();
        fs::write(trees.join(format!("{two}.json")), r#"{"format_version": 1, "files": {"a": {"size": 1}}}"#).unwrap();
        assert!(repo.is_absent(&two, "config.json") && !repo.is_absent(&two, "a"));
    }
}
