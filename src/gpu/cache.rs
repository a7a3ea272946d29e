//! Files that make the next start faster, in the user's cache folder (`VIT_GPU_CACHE` names another; empty for none).
//! They can be deleted at any time, and nothing fails for want of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::adapter::AdapterReport;

/// The file called `name` for an adapter with this driver and this version of the crate.
pub fn file(report: &AdapterReport, name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("VIT_GPU_CACHE") {
        Some(folder) if folder.is_empty() => return None,
        Some(folder) => PathBuf::from(folder),
        None => etcetera::choose_base_strategy().ok()?.cache_dir().join("vit-gpu"),
    };
    let mut hash = DefaultHasher::new();
    (&report.name, report.backend, &report.driver).hash(&mut hash);
    Some(folder.join(format!("{}-{:016x}-{name}", env!("CARGO_PKG_VERSION"), hash.finish())))
}

/// Writes a file whole or not at all: a reader never sees half of it.
pub fn write(file: &Path, bytes: &[u8]) {
    let Some(folder) = file.parent() else { return };
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&part, bytes))
        .and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
}
