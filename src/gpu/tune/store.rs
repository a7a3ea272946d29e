//! Kernel choices on disk: one JSON file per adapter, driver, precision and version of this crate. If it is lost, kernels are measured again,
//! so nothing here is an error.
//!
//! Every change reads the file anew and writes it back while a file beside it (`.lock`) is locked, so that processes and
//! threads that try kernels at the same time keep each other's results.
//!
//! While the kernels of a shape class are tried there is a mark, a small file that says which one is running and that its
//! process keeps locked. However a process ends, the system takes its locks away. A locked mark therefore belongs to a trial
//! that is under way and says nothing about the kernel. A mark without a lock was left by a process that died during the
//! trial, or whose device was lost. That is a count against the kernel in this class, no more, as it may have been Ctrl-C: the
//! kernel is tried again. At the second count it is dropped. Counts end when the trial of the class is finished.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::Adapter;
use crate::gpu::cache;
use crate::gpu::kernels::Capabilities;

/// Trials of a kernel in one shape class that may end in a crash before it is dropped.
const CRASHES: u32 = 2;

#[derive(Default)]
pub struct Store {
    file: Option<PathBuf>,
    known: Known,
    /// Kernels whose mark was written through to the disk once.
    synced: HashSet<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// Shape class to kernel.
    choices: BTreeMap<String, String>,
    /// Kernels that failed on this adapter, each with the reason.
    dropped: BTreeMap<String, String>,
    /// Trials that ended in a crash: how many, by shape class and kernel.
    crashes: BTreeMap<String, BTreeMap<String, u32>>,
}

/// The trial of a class under method. Dropping it ends the trial, unless the thread panics.
pub struct Mark {
    class: String,
    path: PathBuf,
    left: bool,
    // Closed, and so unlocked, after `drop` has removed it.
    locked: File,
}

/// What a mark's file holds.
#[derive(Serialize, Deserialize)]
struct Tried {
    class: String,
    kernel: String,
}

impl Mark {
    /// Says which kernel is about to run; `sync` waits until that is on the disk.
    fn write(&mut self, kernel: &str, sync: bool) -> io::Result<()> {
        let text = serde_json::to_vec(&Tried { class: self.class.clone(), kernel: kernel.to_owned() })?;
        self.locked.rewind()?;
        self.locked.write_all(&text)?;
        self.locked.set_len(text.len() as u64)?;
        if sync { self.locked.sync_all() } else { Ok(()) }
    }

    /// Leaves the mark to be counted, because the device went down in this trial.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if !self.left && !std::thread::panicking() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Store {
    pub fn open(report: &Adapter, capabilities: Capabilities) -> Store {
        let Capabilities { precision, .. } = capabilities;
        Store::at(cache::file(report, &format!("kernels-{}.json", precision.name())))
    }

    fn at(file: Option<PathBuf>) -> Store {
        let known = file.as_deref().map(read).unwrap_or_default();
        let mut store = Store { file: file.clone(), known, synced: HashSet::new() };
        let Some(file) = file else { return store };
        let marks = marks(&file);
        if !marks.is_empty()
            && let Some(turn) = turn(&file)
        {
            let tried = marks.iter().filter_map(|mark| abandoned(mark, &turn));
            store.rewrite(&file, &turn, |known| tried.for_each(|tried| known.crashed(tried)));
        }
        store
    }

    pub fn choice(&self, class: &str) -> Option<&str> {
        let kernel = self.known.choices.get(class)?;
        (!self.known.dropped.contains_key(kernel)).then_some(kernel)
    }

    /// Ends the trial of a class.
    pub fn choose(&mut self, class: &str, kernel: &str) {
        self.change(|known| {
            known.choices.insert(class.to_owned(), kernel.to_owned());
            known.crashes.remove(class);
        });
    }

    pub fn dropped(&self) -> &BTreeMap<String, String> {
        &self.known.dropped
    }

    pub fn drop_kernel(&mut self, kernel: &str, reason: &str) {
        self.change(|known| drop(known.dropped.insert(kernel.to_owned(), reason.to_owned())));
    }

    /// Marks that the kernels of a class are being tried. `None` where nothing is remembered, or where files can't be locked.
    pub fn trial(&self, class: &str) -> Option<Mark> {
        let file = self.file.as_deref()?;
        // Marks are looked through under the same lock, so that nobody sees one before its own lock is taken.
        let _turn = turn(file)?;
        let (locked, path) = cache::create_new(file, "trying").ok()?;
        let able = locked.try_lock().is_ok();
        let mark = Mark { class: class.to_owned(), path, left: false, locked };
        able.then_some(mark)
    }

    /// Says in a mark which kernel is about to run.
    pub fn trying(&mut self, mark: &mut Mark, kernel: &str) {
        // Some devices take the whole machine down: the first run of a kernel must be on the disk by then.
        let first = self.synced.insert(kernel.to_owned());
        // What can't be written can't be counted: the kernel is tried all the same.
        let _ = mark.write(kernel, first);
    }

    /// Changes what is known, and the file if there is one that can be locked.
    fn change(&mut self, change: impl FnOnce(&mut Known)) {
        let file = self.file.clone();
        match file.as_deref().and_then(|file| Some((file, turn(file)?))) {
            Some((file, turn)) => self.rewrite(file, &turn, change),
            None => change(&mut self.known),
        }
    }

    /// Changes the file as it is now: others may have changed it since it was read.
    fn rewrite(&mut self, file: &Path, _turn: &Turn, change: impl FnOnce(&mut Known)) {
        self.known = read(file);
        change(&mut self.known);
        if let Ok(text) = serde_json::to_vec_pretty(&self.known) {
            cache::write(file, &text);
        }
    }
}

impl Known {
    /// Counts a trial that ended in a crash.
    fn crashed(&mut self, Tried { class, kernel }: Tried) {
        let count = self.crashes.entry(class).or_default().entry(kernel.clone()).or_default();
        *count += 1;
        if *count >= CRASHES {
            let reason = format!("the device or the process went down {count} times while it was tried");
            self.dropped.entry(kernel).or_insert(reason);
        }
    }
}

fn read(file: &Path) -> Known {
    let text = std::fs::read_to_string(file).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The right to change a file and to look through its marks, which one store at a time has; it ends when this is dropped.
struct Turn {
    _locked: File,
}

fn turn(file: &Path) -> Option<Turn> {
    std::fs::create_dir_all(file.parent()?).ok()?;
    let mut options = OpenOptions::new();
    let lock = cache::own(options.create(true).write(true)).open(file.with_extension("lock")).ok()?;
    // Turns take milliseconds. A process that was stopped during its own must not stop this one.
    for _ in 0..200 {
        match lock.try_lock() {
            Ok(()) => return Some(Turn { _locked: lock }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// The marks beside a file.
fn marks(file: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(stem)) = (file.parent(), file.file_stem()) else { return Vec::new() };
    let start = format!("{}.trying-", stem.to_string_lossy());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start));
    ours.map(|entry| entry.path()).collect()
}

/// Takes away a mark that nobody keeps locked; what was being tried.
fn abandoned(mark: &Path, _turn: &Turn) -> Option<Tried> {
    let mut file = OpenOptions::new().read(true).write(true).open(mark).ok()?;
    file.try_lock().ok()?;
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    // One that stays would be counted again and again.
    std::fs::remove_file(mark).ok()?;
    read.ok().and_then(|_| serde_json::from_str(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (tempfile::TempDir, Option<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deeper").join("0.1.0-kernels.json");
        (folder, Some(file))
    }

    /// A trial during which the process dies: the lock goes, the mark stays.
    fn crash(file: &Option<PathBuf>, class: &str, kernel: &str) {
        let mut store = Store::at(file.clone());
        let mut mark = store.trial(class).expect("a mark");
        store.trying(&mut mark, "a kernel with a long name that was tried before");
        store.trying(&mut mark, kernel);
        mark.leave();
    }

    fn dropped(file: &Option<PathBuf>) -> Vec<String> {
        Store::at(file.clone()).dropped().keys().cloned().collect()
    }

    #[test]
    fn choices_and_failures_outlive_the_process() {
        let (_folder, file) = places();
        let mut store = Store::at(file.clone());
        store.choose("linear", "a");
        store.choose("attention", "b");
        store.drop_kernel("b", "wrong numbers");
        let store = Store::at(file.clone());
        assert_eq!((store.choice("linear"), store.choice("attention")), (Some("a"), None));
        assert_eq!(store.dropped()["b"], "wrong numbers");
        std::fs::write(file.as_ref().unwrap(), "{").unwrap();
        assert_eq!(Store::at(file).choice("linear"), None);
    }

    #[test]
    fn a_kernel_is_dropped_at_the_second_crash() {
        let (_folder, file) = places();
        crash(&file, "linear", "a");
        assert_eq!(dropped(&file), [""; 0], "the first may have been Ctrl-C");
        assert_eq!(dropped(&file), [""; 0], "and is counted once");
        crash(&file, "linear", "a");
        assert_eq!(dropped(&file), ["a"]);
        assert_eq!(dropped(&file), ["a"]);
        assert!(marks(file.as_ref().unwrap()).is_empty());
    }

    #[test]
    fn crashes_of_other_kernels_and_before_a_finished_trial_do_not_add_up() {
        let (_folder, file) = places();
        crash(&file, "linear", "a");
        crash(&file, "linear", "b");
        crash(&file, "attention", "a");
        assert_eq!(dropped(&file), [""; 0]);
        Store::at(file.clone()).choose("linear", "a");
        crash(&file, "linear", "b");
        assert_eq!(dropped(&file), [""; 0]);
        crash(&file, "attention", "a");
        assert_eq!(dropped(&file), ["a"]);
    }

    #[test]
    fn a_trial_under_way_is_no_crash_and_one_that_ends_leaves_nothing() {
        let (_folder, file) = places();
        let mut store = Store::at(file.clone());
        for _ in 0..3 {
            let mut mark = store.trial("linear").expect("a mark");
            store.trying(&mut mark, "a");
            assert_eq!(dropped(&file), [""; 0]);
            assert_eq!(marks(file.as_ref().unwrap()).len(), 1, "it is the owner's to take away");
            drop(mark);
            assert!(marks(file.as_ref().unwrap()).is_empty());
        }
        assert!(Store::at(file).known.crashes.is_empty());
    }

    #[test]
    fn a_panic_during_a_trial_counts() {
        let (_folder, file) = places();
        for _ in 0..2 {
            let mut store = Store::at(file.clone());
            let tried = std::panic::AssertUnwindSafe(|| {
                let mut mark = store.trial("linear").expect("a mark");
                store.trying(&mut mark, "a");
                std::panic::resume_unwind(Box::new("a compiler's panic"));
            });
            assert!(std::panic::catch_unwind(tried).is_err());
        }
        assert_eq!(dropped(&file), ["a"]);
    }

    #[test]
    fn stores_open_at_once_keep_each_others_results() {
        let (_folder, file) = places();
        std::thread::scope(|scope| {
            for i in 0..8 {
                let file = file.clone();
                scope.spawn(move || {
                    let mut store = Store::at(file);
                    for j in 0..10 {
                        let mut mark = store.trial("class").expect("a mark");
                        store.trying(&mut mark, &format!("kernel {i}"));
                        store.choose(&format!("class {i} {j}"), "kernel");
                    }
                    store.drop_kernel(&format!("bad {i}"), "wrong numbers");
                });
            }
        });
        let store = Store::at(file);
        assert_eq!((store.known.choices.len(), store.dropped().len()), (80, 8));
        assert!(store.known.crashes.is_empty());
    }

    #[test]
    fn without_a_file_all_is_known_in_memory_alone() {
        let mut store = Store::at(None);
        assert!(store.trial("linear").is_none());
        store.choose("linear", "a");
        store.drop_kernel("b", "wrong numbers");
        assert_eq!((store.choice("linear"), store.dropped().len()), (Some("a"), 1));
    }

    #[test]
    fn what_cannot_be_a_folder_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let mut store = Store::at(Some(folder.path().join("file").join("kernels.json")));
        assert!(store.trial("linear").is_none());
        store.choose("linear", "a");
        assert_eq!(store.choice("linear"), Some("a"));
    }
}
