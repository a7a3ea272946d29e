//! How a photo is known again: by size and time at once, by content if those have changed.

use std::fs::Metadata;
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

/// Size and time of a file. A file whose stamp is the same is taken for unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds between 1970 and the file's last change; negative before.
    pub modified: i64,
}

impl Stamp {
    /// The stamp of a file. Take it before the file is read, so that a change in between is seen the next time.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Stamp {
        let nanoseconds = |time: std::time::SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanoseconds| -nanoseconds),
        };
        Stamp { size: metadata.len(), modified: metadata.modified().map_or(0, nanoseconds) }
    }
}

/// The SHA-256 digest of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}
