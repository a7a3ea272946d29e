//! The one process that writes an index.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::changes::{Known, Pending, renumber, write, write_holes};
use super::database::{Database, Place, Row, set, set_place};
use super::half::stored;
use super::lock::lock;
use super::made::IndexedModel;
use super::stamp::{Digest, Stamp};
use super::vectors::{Vectors, mark, remove_others};
use crate::error::{Error, Result};
use crate::session::Session;

/// Writes an index: adds, moves and removes photos. Nothing is kept before [`IndexWriter::commit`], which keeps all or nothing.
///
/// One process writes at a time. Others may read.
pub struct IndexWriter {
    database: Database,
    vectors: Vectors,
    place: Place,
    model: IndexedModel,
    photos: BTreeMap<PathBuf, Known>,
    folders: BTreeMap<PathBuf, bool>,
    /// The vector of each content.
    contents: HashMap<Digest, u64>,
    /// How many photos have each vector. One that none has is a hole: its content is remembered, in case a photo comes back.
    used: Vec<u32>,
    pending: Pending,
    _lock: File,
}

impl std::fmt::Debug for IndexWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexWriter").field("file", &self.database.file).finish_non_exhaustive()
    }
}

impl IndexWriter {
    /// Opens an index, or makes one, for the vectors of this session's model.
    ///
    /// # Errors
    /// As [`IndexWriter::open_as`]; [`Error::Io`] if the model's weights can't be read.
    pub fn open(file: impl AsRef<Path>, session: &Session) -> Result<IndexWriter> {
        let known = IndexWriter::model_of(file.as_ref())?;
        IndexWriter::open_as(file, &IndexedModel::of(session, BTreeMap::new(), known.as_ref())?)
    }

    /// The model of the index in this file; `None` if there is no file, or nothing in it yet.
    ///
    /// # Errors
    /// As [`Index::open`](super::Index::open).
    pub fn model_of(file: impl AsRef<Path>) -> Result<Option<IndexedModel>> {
        match file.as_ref().metadata() {
            Ok(metadata) if metadata.len() > 0 => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(file.as_ref())(error)),
            _ => return Ok(None),
        }
        let database = Database::open_read(file.as_ref())?;
        if database.exists()? { database.model().map(Some) } else { Ok(None) }
    }

    /// Opens an index, or makes one, for vectors that were made as `model` says.
    ///
    /// # Errors
    /// [`Error::Index`] if another model made it, another process writes it, it is damaged, or the file is something else;
    /// [`Error::Io`] for a folder that can't be written.
    pub fn open_as(file: impl AsRef<Path>, model: &IndexedModel) -> Result<IndexWriter> {
        let file = file.as_ref();
        let lock = lock(file)?;
        let mut database = Database::to_write(file)?;
        let (place, vectors) = if database.exists()? {
            let made = database.model()?;
            if let Some(difference) = made.difference(model) {
                return Err(database.damaged(difference));
            }
            if made.files != model.files {
                database.write(|transaction| set(transaction, "files", &model.files))?;
            }
            let place = database.place()?;
            let vectors = Vectors::open(file, &place, made.dim, true)?;
            (place, vectors)
        } else {
            let place = Place { generation: 0, mark: mark(file), slots: 0, changes: 0 };
            let vectors = Vectors::create(file, &place, model.dim)?;
            database.create(model, &place)?;
            (place, vectors)
        };
        remove_others(file, place.generation);
        let (photos, folders, contents, used) = (BTreeMap::new(), BTreeMap::new(), HashMap::new(), Vec::new());
        let (model, pending, _lock) = (database.model()?, Pending::default(), lock);
        let mut writer =
            IndexWriter { database, vectors, place, model, photos, folders, contents, used, pending, _lock };
        writer.load()?;
        Ok(writer)
    }

    fn load(&mut self) -> Result<()> {
        self.folders = self.database.folders()?.into_iter().collect();
        self.contents = self.database.contents()?.into_iter().collect();
        self.used = vec![0; self.place.slots as usize];
        let mut missing = self.contents.len() != self.used.len();
        self.database.photos(|Row { path, stamp, slot, .. }| {
            match slot.map(|slot| self.used.get_mut(slot as usize)) {
                Some(Some(used)) => *used += 1,
                Some(None) => missing = true,
                None => {}
            }
            self.photos.insert(path, Known { stamp, slot });
        })?;
        missing |= self.contents.values().any(|slot| *slot >= self.place.slots);
        if missing { Err(self.database.damaged("it is damaged: a vector is missing")) } else { Ok(()) }
    }

    /// The model that made the vectors.
    #[must_use]
    pub fn model(&self) -> &IndexedModel {
        &self.model
    }

    /// All photos, by path, those that are not committed yet among them.
    #[must_use]
    pub fn photos(&self) -> &BTreeMap<PathBuf, Known> {
        &self.photos
    }

    /// The folders that are kept up to date, and whether what is hidden in them is indexed.
    #[must_use]
    pub fn folders(&self) -> &BTreeMap<PathBuf, bool> {
        &self.folders
    }

    /// Remembers a folder, and whether what is hidden in it is indexed; `None` forgets it, but not its photos.
    pub fn set_folder(&mut self, path: &Path, hidden: Option<bool>) {
        let before = match hidden {
            Some(hidden) => self.folders.insert(path.to_path_buf(), hidden),
            None => self.folders.remove(path),
        };
        if before != hidden {
            self.pending.folders.insert(path.to_path_buf(), hidden);
        }
    }

    /// Adds a photo whose content is that of one that has a vector already: a copy, or the same photo under another name.
    /// Returns whether there is one.
    pub fn add_known(&mut self, path: &Path, stamp: Stamp, digest: Digest) -> bool {
        let Some(&slot) = self.contents.get(&digest) else { return false };
        self.put(path, Some(Known { stamp, slot: Some(slot) }), None);
        true
    }

    /// Whether this content has a vector.
    #[must_use]
    pub fn has_content(&self, digest: Digest) -> bool {
        self.contents.contains_key(&digest)
    }

    /// Adds a photo, or what has become of it, with its vector of any length but 0, which is scaled to length 1.
    ///
    /// # Errors
    /// [`Error::Argument`] for a vector of another model's size, and one that is not finite.
    pub fn add(&mut self, path: &Path, stamp: Stamp, digest: Digest, vector: &[f32]) -> Result<()> {
        if vector.len() != self.model.dim || vector.iter().any(|value| !value.is_finite()) {
            let reason = format!("expected a vector of {} finite values", self.model.dim);
            return Err(Error::argument("vector", reason));
        }
        if !self.add_known(path, stamp, digest) {
            let slot = self.used.len() as u64;
            stored(vector, &mut self.pending.vectors);
            self.pending.contents.push(digest);
            self.used.push(0);
            self.contents.insert(digest, slot);
            self.put(path, Some(Known { stamp, slot: Some(slot) }), None);
        }
        Ok(())
    }

    /// As [`IndexWriter::add`], for a file, whose size, time and content are taken from it.
    ///
    /// # Errors
    /// As [`IndexWriter::add`]; [`Error::Io`] if it can't be read.
    pub fn add_file(&mut self, path: &Path, vector: &[f32]) -> Result<()> {
        let stamp = Stamp::of(&path.metadata().map_err(Error::io(path))?);
        let content = std::fs::read(path).map_err(Error::io(path))?;
        self.add(path, stamp, Digest::of(&content), vector)
    }

    /// Remembers that a file can't be decoded, so that it is not read again until it changes.
    pub fn add_failed(&mut self, path: &Path, stamp: Stamp, reason: &str) {
        self.put(path, Some(Known { stamp, slot: None }), Some(reason.to_owned()));
    }

    /// Forgets a photo.
    pub fn remove(&mut self, path: &Path) {
        self.put(path, None, None);
    }

    fn put(&mut self, path: &Path, known: Option<Known>, error: Option<String>) {
        let before = match known {
            Some(known) => self.photos.insert(path.to_path_buf(), known),
            None => self.photos.remove(path),
        };
        if let Some(slot) = known.and_then(|known| known.slot) {
            self.used[slot as usize] += 1;
            self.pending.slots.insert(slot);
        }
        if let Some(slot) = before.and_then(|before| before.slot) {
            self.used[slot as usize] -= 1;
            self.pending.slots.insert(slot);
        }
        self.pending.photos.insert(path.to_path_buf(), known.map(|known| (known, error)));
    }

    /// Keeps all changes since the last commit. They are kept together or, if this fails or the process dies, not at all.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Index`] if the disk is full or a file can't be written. What was committed before stays.
    pub fn commit(&mut self) -> Result<()> {
        let pending = &self.pending;
        if pending.photos.is_empty() && pending.folders.is_empty() {
            return Ok(());
        }
        // First the vectors, so that whatever the database knows is there.
        if !pending.vectors.is_empty() {
            self.vectors.append(self.place.slots, &pending.vectors)?;
        }
        let (slots, changes) = (self.used.len() as u64, self.place.changes + 1);
        let place = Place { slots, changes, ..self.place.clone() };
        let (used, first) = (&self.used, self.place.slots);
        self.database.write(|transaction| {
            write(transaction, pending, first)?;
            write_holes(transaction, &pending.slots, used)?;
            set_place(transaction, &place)
        })?;
        self.place = place;
        self.pending = Pending::default();
        Ok(())
    }

    /// Vectors that no photo has any more, and vectors in all.
    #[must_use]
    pub fn holes(&self) -> (usize, usize) {
        (self.used.iter().filter(|photos| **photos == 0).count(), self.used.len())
    }

    /// Commits, and writes the vectors anew without holes. Readers that have the old file keep it until they look again.
    ///
    /// # Errors
    /// As [`IndexWriter::commit`].
    pub fn compact(&mut self) -> Result<()> {
        self.commit()?;
        let kept: Vec<u64> = (0..self.used.len() as u64).filter(|slot| self.used[*slot as usize] > 0).collect();
        let mark = mark(&self.database.file);
        let (generation, changes) = (self.place.generation + 1, self.place.changes + 1);
        let place = Place { generation, mark, slots: kept.len() as u64, changes };
        let vectors = Vectors::create(&self.database.file, &place, self.model.dim)?;
        let width = vectors.bytes();
        let many = ((4 << 20) / width).max(1);
        for (number, slots) in kept.chunks(many).enumerate() {
            let mut bytes = vec![0; slots.len() * width];
            for (slot, bytes) in slots.iter().zip(bytes.chunks_exact_mut(width)) {
                self.vectors.read(*slot, bytes)?;
            }
            vectors.append((number * many) as u64, &bytes)?;
        }
        let moved: HashMap<u64, u64> = kept.iter().copied().zip(0..).collect();
        let mut contents = self.contents.clone();
        contents.retain(|_, slot| moved.get(slot).map(|to| *slot = *to).is_some());
        let mut photos = self.photos.clone();
        photos.values_mut().filter_map(|known| known.slot.as_mut()).for_each(|slot| *slot = moved[slot]);
        self.database.write(|transaction| {
            renumber(transaction, &photos, &contents)?;
            set_place(transaction, &place)
        })?;
        (self.photos, self.contents) = (photos, contents);
        self.used = kept.iter().map(|slot| self.used[*slot as usize]).collect();
        (self.vectors, self.place) = (vectors, place);
        remove_others(&self.database.file, self.place.generation);
        Ok(())
    }
}
