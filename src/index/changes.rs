//! What a commit writes into the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use rusqlite::Transaction;

use super::names::bytes;
use super::stamp::{Digest, Stamp};

/// What an index knows of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its size and time when it was read.
    pub stamp: Stamp,
    /// Its vector's place; `None` for a file that could not be decoded.
    pub(super) slot: Option<u64>,
}

impl Known {
    /// Whether it has a vector. A file that could not be decoded has none, and is not read again until it changes.
    #[must_use]
    pub fn has_vector(&self) -> bool {
        self.slot.is_some()
    }
}

/// What the next commit writes.
#[derive(Default)]
pub struct Pending {
    /// Photos that are new or changed, and those that are gone (`None`).
    pub photos: BTreeMap<PathBuf, Option<(Known, Option<String>)>>,
    pub folders: BTreeMap<PathBuf, Option<bool>>,
    pub vectors: Vec<u8>,
    /// What the vectors above are of.
    pub contents: Vec<Digest>,
    /// Vectors that came into use or became holes.
    pub slots: BTreeSet<u64>,
}

/// Writes the photos, folders and contents that are pending; the contents' vectors begin at slot `first`.
pub fn write(transaction: &Transaction<'_>, pending: &Pending, first: u64) -> rusqlite::Result<()> {
    let mut put = transaction.prepare("INSERT OR REPLACE INTO photos VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut remove = transaction.prepare("DELETE FROM photos WHERE path = ?1")?;
    for (path, change) in &pending.photos {
        match change {
            Some((Known { stamp, slot }, error)) => {
                let slot = slot.map(|slot| slot as i64);
                put.execute((bytes(path), stamp.size as i64, stamp.modified, slot, error))?
            }
            None => remove.execute([bytes(path)])?,
        };
    }
    let mut content = transaction.prepare("INSERT INTO contents VALUES (?1, ?2)")?;
    for (digest, slot) in pending.contents.iter().zip(first as i64..) {
        content.execute((digest.0, slot))?;
    }
    for (path, hidden) in &pending.folders {
        match hidden {
            Some(hidden) => {
                transaction.execute("INSERT OR REPLACE INTO folders VALUES (?1, ?2)", (bytes(path), hidden))?
            }
            None => transaction.execute("DELETE FROM folders WHERE path = ?1", [bytes(path)])?,
        };
    }
    Ok(())
}

/// Says of each of these vectors whether it is a hole.
pub fn write_holes(transaction: &Transaction<'_>, slots: &BTreeSet<u64>, used: &[u32]) -> rusqlite::Result<()> {
    let mut hole = transaction.prepare("INSERT OR IGNORE INTO holes VALUES (?1)")?;
    let mut fill = transaction.prepare("DELETE FROM holes WHERE slot = ?1")?;
    for slot in slots {
        if used[*slot as usize] == 0 { &mut hole } else { &mut fill }.execute([*slot as i64])?;
    }
    Ok(())
}

/// Gives every photo and content the new number of its vector; contents without photos are forgotten.
pub fn renumber(
    transaction: &Transaction<'_>,
    photos: &BTreeMap<PathBuf, Known>,
    contents: &HashMap<Digest, u64>,
) -> rusqlite::Result<()> {
    let mut photo = transaction.prepare("UPDATE photos SET slot = ?1 WHERE path = ?2")?;
    for (path, known) in photos {
        if let Some(slot) = known.slot {
            photo.execute((slot as i64, bytes(path)))?;
        }
    }
    transaction.execute_batch("DELETE FROM contents; DELETE FROM holes")?;
    let mut content = transaction.prepare("INSERT INTO contents VALUES (?1, ?2)")?;
    for (digest, slot) in contents {
        content.execute((digest.0, *slot as i64))?;
    }
    Ok(())
}
