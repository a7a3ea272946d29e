//! One process at a time downloads a file, others of this program and of Python wait.

use std::fs::{File, OpenOptions};
use std::path::Path;

use crate::error::{Error, Result};

/// The right to download a file; it ends when this is dropped.
pub struct Lock {
    file: Option<File>,
}

impl Lock {
    /// Waits until nobody else has it. The file is the one that Python's `filelock` locks, by the same means.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file and none can be made.
    pub fn take(path: &Path) -> Result<Lock> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o664);
        let file = options.open(path).map_err(Error::io(path))?;
        let locked = file.lock().is_ok();
        Ok(Lock { file: locked.then_some(file) })
    }

    /// Whether others are really kept out: some network file systems have no locks.
    pub fn holds(&self) -> bool {
        self.file.is_some()
    }
}
