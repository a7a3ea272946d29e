//! What has changed in the folders of an index: found by names, sizes and times, without reading any photo.

use std::collections::HashSet;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use vit_gpu::index::{IndexWriter, Stamp};

use super::super::folders::{FolderOptions, images_in};
use super::super::inputs::Input;

/// A folder, and whether what is hidden in it is read.
pub type Folder = (PathBuf, bool);

/// What has to be done so that an index knows what is in its folders.
#[derive(Default)]
pub struct Plan {
    /// Photos that are new or changed, and their size and time.
    pub inputs: Vec<Input>,
    pub stamps: Vec<Stamp>,
    /// Photos that are no longer there.
    pub gone: Vec<PathBuf>,
    pub unchanged: usize,
    /// What can't be read at all, and why. What is known of it, or of photos below it, is kept.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Folders that are not there, or empty, and how many photos of them are kept.
    pub missing: Vec<(PathBuf, usize)>,
}

/// The folder that a path belongs to: the innermost.
pub fn owner<'a>(path: &Path, folders: &'a [Folder]) -> Option<&'a Path> {
    let above = folders.iter().map(|(folder, _)| folder.as_path()).filter(|folder| path.starts_with(folder));
    above.max_by_key(|folder| folder.as_os_str().len())
}

/// What is known of photos.
pub trait Knows {
    /// Size and time of a photo when it was read.
    fn stamp(&self, path: &Path) -> Option<Stamp>;
    /// The photos in and below a folder, or with this very path.
    fn below(&self, folder: &Path) -> Vec<PathBuf>;
}

impl Knows for IndexWriter {
    fn stamp(&self, path: &Path) -> Option<Stamp> {
        self.photos().get(path).map(|known| known.stamp)
    }

    fn below(&self, folder: &Path) -> Vec<PathBuf> {
        let from: (Bound<&Path>, Bound<&Path>) = (Bound::Included(folder), Bound::Unbounded);
        let within = self.photos().range::<Path, _>(from).take_while(|(path, _)| path.starts_with(folder));
        within.map(|(path, _)| path.clone()).collect()
    }
}

impl Plan {
    /// Looks through `folders`, some of `all` folders of the index.
    pub fn of(known: &dyn Knows, folders: &[Folder], all: &[Folder]) -> Plan {
        let mut plan = Plan::default();
        folders.iter().for_each(|folder| plan.look(known, folder, all));
        plan
    }

    fn look(&mut self, known: &dyn Knows, (folder, hidden): &Folder, all: &[Folder]) {
        let found = if folder.is_dir() { images_in(folder, &FolderOptions::new(*hidden)) } else { Vec::new() };
        let mut before = known.below(folder);
        before.retain(|path| owner(path, all) == Some(folder));
        if found.is_empty() {
            let kept = before.len();
            // An empty folder is what a disk leaves that is not mounted.
            if kept > 0 || !folder.is_dir() {
                self.missing.push((folder.clone(), kept));
            }
            return;
        }
        let (mut seen, mut locked) = (HashSet::new(), Vec::new());
        for input in &found {
            if owner(input.path(), all) == Some(folder) {
                seen.insert(input.path());
                if let Err(reason) = self.compare(known, input) {
                    self.unreadable.push((input.path().to_path_buf(), reason));
                    locked.push(input.path());
                }
            }
        }
        before.retain(|path| !seen.contains(path.as_path()) && !locked.iter().any(|locked| path.starts_with(locked)));
        self.gone.extend(before);
    }

    /// Notes a photo to be read unless it is known and unchanged.
    ///
    /// # Errors
    /// The reason why it can't be read.
    pub fn compare(&mut self, known: &dyn Knows, input: &Input) -> Result<(), String> {
        if let Input::Unreadable(entry) = input {
            return Err(entry.1.clone());
        }
        let metadata = input.path().metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("it is not a file".to_owned());
        }
        let stamp = Stamp::of(&metadata);
        if known.stamp(input.path()) == Some(stamp) {
            self.unchanged += 1;
        } else {
            self.inputs.push(input.clone());
            self.stamps.push(stamp);
        }
        Ok(())
    }

    /// Keeps only the photos to read for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        let both = std::mem::take(&mut self.inputs).into_iter().zip(std::mem::take(&mut self.stamps));
        (self.inputs, self.stamps) = both.filter(|(input, _)| keep(input.path())).unzip();
    }

    /// Leaves out what is there twice.
    pub fn unique(&mut self) {
        let mut seen = HashSet::new();
        self.retain(|path| seen.insert(path.to_path_buf()));
        self.gone.sort();
        self.gone.dedup();
    }

    /// Says what can't be read, and which folders are missing.
    pub fn report(&self) {
        for (path, reason) in &self.unreadable {
            log::error!("{}: {reason}", path.display());
        }
        for (folder, kept) in &self.missing {
            let state = if folder.is_dir() { "is empty" } else { "is not there" };
            log::warn!(
                "{}: the folder {state}; {kept} photos of it are kept, and --prune forgets them",
                folder.display()
            );
        }
    }
}
