//! The flat file of vectors: a head of 64 bytes, then vector after vector in f16.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::database::Place;
use super::names::beside;
use super::stamp::Digest;
use crate::error::{Error, Result};

/// What a file of vectors begins with.
const MAGIC: &[u8; 16] = b"vit-gpu vectors1";
/// Bytes before the first vector: [`MAGIC`], the mark as 32 hexadecimal digits, the values of a vector as u32, zeros.
const HEAD: u64 = 64;

/// A file of vectors that belongs to an index.
pub struct Vectors {
    file: File,
    path: PathBuf,
    dim: usize,
}

/// The vector file of a generation.
pub fn path_of(index: &Path, generation: u64) -> PathBuf {
    beside(index, &format!(".{generation}.vectors"))
}

impl Vectors {
    /// Makes the file of a generation anew, with its mark. Nothing refers to it yet.
    pub fn create(index: &Path, place: &Place, dim: usize) -> Result<Vectors> {
        let path = path_of(index, place.generation);
        let mut head = [0; HEAD as usize];
        head[..16].copy_from_slice(MAGIC);
        head[16..48].copy_from_slice(place.mark.as_bytes());
        head[48..52].copy_from_slice(&(dim as u32).to_le_bytes());
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = options.and_then(|mut file| {
            file.write_all(&head)?;
            file.sync_all()?;
            Ok(file)
        });
        Ok(Vectors { file: file.map_err(Error::io(&path))?, path, dim })
    }

    /// Opens the file that the database names; `writes` cuts off what the database does not know of.
    ///
    /// # Errors
    /// [`Error::Io`] if it is missing; [`Error::Index`] if it is another file, or too short.
    pub fn open(index: &Path, place: &Place, dim: usize, writes: bool) -> Result<Vectors> {
        let path = path_of(index, place.generation);
        let mut file = OpenOptions::new().read(true).write(writes).open(&path).map_err(Error::io(&path))?;
        let damaged = |reason: &str| {
            let reason = format!("{reason}: delete {} and its files of vectors, and index again", index.display());
            Error::Index { file: path.clone(), reason, source: None }
        };
        let mut head = [0; HEAD as usize];
        let read = file.read_exact(&mut head);
        if read.is_err() || head[..16] != *MAGIC || head[16..48] != *place.mark.as_bytes() {
            return Err(damaged("these are not the vectors of the index"));
        }
        let vectors = Vectors { file, path: path.clone(), dim };
        let (len, known) = (vectors.file.metadata().map_err(Error::io(&path))?.len(), vectors.offset(place.slots));
        if head[48..52] != (dim as u32).to_le_bytes() || len < known {
            return Err(damaged("vectors are missing"));
        }
        if writes && len > known {
            vectors.file.set_len(known).map_err(Error::io(&path))?;
        }
        Ok(vectors)
    }

    fn offset(&self, slot: u64) -> u64 {
        HEAD + slot * self.bytes() as u64
    }

    /// Bytes of a vector.
    pub fn bytes(&self) -> usize {
        2 * self.dim
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Writes vectors from this slot on. They are on the disk when this returns.
    pub fn append(&self, slot: u64, vectors: &[u8]) -> Result<()> {
        let written = write_at(&self.file, vectors, self.offset(slot)).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(&self.path))
    }

    /// Reads vectors from this slot on, as many as fit.
    pub fn read(&self, slot: u64, vectors: &mut [u8]) -> Result<()> {
        read_at(&self.file, vectors, self.offset(slot)).map_err(Error::io(&self.path))
    }
}

/// What tells a vector file from those of other indexes and generations: 32 hexadecimal digits that no other index has.
pub fn mark(index: &Path) -> String {
    let now = std::time::SystemTime::now();
    let digest = Digest::of(format!("{index:?} {now:?} {}", std::process::id()).as_bytes());
    digest.0[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Deletes the vector files of other generations, which a process that died may have left.
pub fn remove_others(index: &Path, generation: u64) {
    let (Some(folder), Some(name)) = (index.parent(), index.file_name()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let of_index = file.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let number = of_index.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".vectors"));
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        if number.is_some_and(|number| number != generation) {
            // It is tried again the next time.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let done = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        (bytes, at) = (&bytes[done..], at + done as u64);
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            done => (bytes, at) = (&mut bytes[done..], at + done as u64),
        }
    }
    Ok(())
}
