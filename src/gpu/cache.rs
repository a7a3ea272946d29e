//! Files that make the next start faster, kept in the user's cache folder. `VIT_GPU_CACHE` sets another folder; if it is empty, nothing is kept.
//! They can be deleted at any time, and nothing fails if they are missing.
//!
//! The folder must be one that only its user writes to, as the default is: compiled code is read from it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::device::Adapter;

/// The folder where kernel choices and compiled pipelines are kept; it may not exist yet. `None` where `VIT_GPU_CACHE` is
/// empty, which turns both off, or where the user has no home folder.
#[cfg(not(target_family = "wasm"))]
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    match std::env::var_os("VIT_GPU_CACHE") {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => Some(etcetera::BaseStrategy::cache_dir(&etcetera::choose_base_strategy().ok()?).join("vit-gpu")),
    }
}

/// A browser has no folders: nothing is kept.
#[cfg(target_family = "wasm")]
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    None
}

/// The file called `name` for an adapter with this driver and this version of the crate.
pub fn file(report: &Adapter, name: &str) -> Option<PathBuf> {
    Some(cache_folder()?.join(format!("{}-{:032x}-{name}", env!("CARGO_PKG_VERSION"), key(report))))
}

/// What tells one adapter with its driver from others.
pub fn key(report: &Adapter) -> u128 {
    // Zeros between the parts, so that none can pass for the end of another.
    fnv1a([report.name.as_str(), report.backend, report.driver.as_str()].join("\0").as_bytes())
}

/// The 128-bit FNV-1a hash. Unlike the standard library's hash it is the same with every compiler, so it may be stored.
pub fn fnv1a(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = (1 << 88) + 0x13b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// Writes a file whole or not at all: a reader never sees half of it.
pub fn write(file: &Path, bytes: &[u8]) {
    let Ok((part, path)) = create_new(file, "part") else { return };
    // Windows renames no file that is open: this one is closed where it ends.
    let written = {
        let mut part = part;
        part.write_all(bytes)
    };
    if written.and_then(|()| std::fs::rename(&path, file)).is_err() {
        let _ = std::fs::remove_file(&path);
    }
}

/// Makes a file beside `file` that no other thread or process has, and its folder if need be. Its name is that of `file`
/// with `.KIND-PROCESS-NUMBER` in place of the extension.
pub fn create_new(file: &Path, kind: &str) -> io::Result<(File, PathBuf)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = file.with_extension(format!("{kind}-{}-{number}", std::process::id()));
        match own(OpenOptions::new().write(true).create_new(true)).open(&path) {
            // An earlier process with this number left it behind, or one in another container has it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|opened| (opened, path)),
        }
    }
}

/// Lets only the user read and write what is created.
pub fn own(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let all = ["", "a", "foobar"].map(|text| fnv1a(text.as_bytes()));
        assert_eq!(all[0], 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(all[1], 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(all[2], 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn adapters_have_keys_of_their_own() {
        let named = |name: &str, driver: &str| Adapter { driver: driver.into(), ..Adapter::featureless(name) };
        let keys = [named("A", "1"), named("A", "2"), named("A1", ""), named("B", "1")].map(|report| key(&report));
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key));
        }
    }

    #[test]
    fn threads_that_write_at_once_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deeper").join("kernels.json");
        let text = |i: u8| vec![b'a' + i; 100_000];
        std::thread::scope(|scope| {
            for i in 0..8 {
                let file = &file;
                scope.spawn(move || (0..20).for_each(|_| write(file, &text(i))));
            }
        });
        let found = std::fs::read(&file).unwrap();
        assert!((0..8).any(|i| found == text(i)));
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
}
