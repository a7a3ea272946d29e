//! One process writes an index at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::names::beside;
use crate::error::{Error, Result};

/// Keeps other processes from writing the same index.
pub fn lock(index: &Path) -> Result<File> {
    let path = beside(index, ".lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::io(index))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let reason = "another process is writing it".to_owned();
            Err(Error::Index { file: index.to_path_buf(), reason, source: None })
        }
        // File systems without locks have none to respect.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}
