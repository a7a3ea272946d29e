//! Puts a blob into a snapshot: as a link, or as the file itself where there are no links.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Makes `pointer` show what is in `blob`. A blob that was just downloaded (`fresh`) is moved where there are no links, because
/// nothing else shows it; another one is copied.
///
/// # Errors
/// [`Error::Io`].
pub fn place(blob: &Path, pointer: &Path, links: bool, fresh: bool) -> Result<()> {
    let done = || -> io::Result<()> {
        if links && link(blob, pointer)? {
            return Ok(());
        }
        if fresh { fs::rename(blob, pointer) } else { copy(blob, pointer) }
    };
    done().map_err(Error::io(pointer))
}

/// Links by a relative path, so that the cache can be moved. `false` where there are no links.
fn link(blob: &Path, pointer: &Path) -> io::Result<bool> {
    let Some(name) = blob.file_name() else { return Ok(false) };
    let target = Path::new("..").join("..").join("blobs").join(name);
    match symlink(&target, pointer) {
        // Another process was faster, or an old link shows a blob that is no more.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !pointer.is_file() {
                fs::remove_file(pointer)?;
                symlink(&target, pointer)?;
            }
            Ok(true)
        }
        linked => Ok(linked.is_ok()),
    }
}

#[cfg(unix)]
fn symlink(target: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(windows)]
fn symlink(target: &Path, pointer: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, pointer)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Copies so that nobody sees half of it.
fn copy(blob: &Path, pointer: &Path) -> io::Result<()> {
    let mut part = pointer.as_os_str().to_owned();
    part.push(format!(".{:08x}.tmp", std::process::id()));
    let copied = fs::copy(blob, &part).and_then(|_| fs::rename(&part, pointer));
    copied.inspect_err(|_| drop(fs::remove_file(&part)))
}
