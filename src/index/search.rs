//! Searching an index, beside a process that may be writing it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alike::groups;
use super::database::{Database, Place, Row};
use super::half::{unit, widen};
use super::made::IndexedModel;
use super::names;
use super::scan::{Found, Slots, Source, nearest};
use super::stamp::Stamp;
use super::vectors::Vectors;
use crate::error::{Error, Result};

/// How often a reader looks again that finds the vectors written anew.
const ATTEMPTS: usize = 8;
/// Bytes of vectors that are read at a time where they are not searched.
const BLOCK: usize = 4 << 20;

/// A photo that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Where it is.
    pub path: PathBuf,
    /// The cosine of its vector and the query, between -1 and 1.
    pub score: f32,
}

/// What is known of a photo in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Its size and time when it was indexed.
    pub stamp: Stamp,
    /// Why it has no vector, if it could not be decoded.
    pub error: Option<String>,
}

/// An index of photos to search. Every call sees what is committed by then.
///
/// The vectors are kept in memory from the first search on, 2 bytes a value, unless [`Index::in_memory`] says otherwise.
pub struct Index {
    model: IndexedModel,
    in_memory: bool,
    state: Mutex<State>,
}

struct State {
    database: Database,
    snapshot: Option<Snapshot>,
}

/// The vectors as of one transaction.
struct Snapshot {
    place: Place,
    slots: Slots,
    vectors: Vectors,
    /// All vectors, or none.
    memory: Vec<u8>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Index {
    /// Opens an index.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none, or its vectors are missing; [`Error::Index`] if it is damaged, empty or no index.
    pub fn open(file: impl AsRef<Path>) -> Result<Index> {
        let database = Database::to_read(file.as_ref())?;
        let model = database.model()?;
        Ok(Index { model, in_memory: true, state: Mutex::new(State { database, snapshot: None }) })
    }

    /// Whether vectors are kept in memory (they are without this), or read from the file for every search. If the system has the file
    /// in its cache, that takes little longer.
    #[must_use]
    pub fn in_memory(mut self, in_memory: bool) -> Index {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).snapshot = None;
        Index { in_memory, ..self }
    }

    /// The model that made the vectors. Queries must be vectors of the same model.
    #[must_use]
    pub fn model(&self) -> &IndexedModel {
        &self.model
    }

    /// How many photos have a vector.
    ///
    /// # Errors
    /// [`Error::Index`] if the database can't be read.
    pub fn len(&self) -> Result<usize> {
        let query = "SELECT count(*) FROM photos WHERE slot IS NOT NULL";
        self.state().database.wrap(|c| c.query_row(query, (), |row| row.get::<_, i64>(0))).map(|count| count as usize)
    }

    /// Whether no photo has a vector.
    ///
    /// # Errors
    /// As [`Index::len`].
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// The folders that are kept up to date.
    ///
    /// # Errors
    /// As [`Index::len`].
    pub fn folders(&self) -> Result<Vec<PathBuf>> {
        Ok(self.state().database.folders()?.into_iter().map(|(path, _)| path).collect())
    }

    /// All photos, by path, those that could not be decoded among them.
    ///
    /// # Errors
    /// As [`Index::len`].
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let row = |Row { path, stamp, error, .. }| entries.push(Entry { path, stamp, error });
        self.state().database.photos(row)?;
        Ok(entries)
    }

    /// The `top` photos whose vectors are nearest to the query's by their cosine, best first. The query, [`IndexedModel::dim`]
    /// values, need not have length 1.
    ///
    /// # Errors
    /// [`Error::Argument`] for a query of another size, or one that is not finite; [`Error::Index`] and [`Error::Io`] if the index
    /// can't be read.
    pub fn search(&self, query: &[f32], top: usize) -> Result<Vec<Hit>> {
        self.search_above(query, top, f32::NEG_INFINITY)
    }

    /// As [`Index::search`], of photos with a cosine of `least` or more only.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search_above(&self, query: &[f32], top: usize, least: f32) -> Result<Vec<Hit>> {
        if query.len() != self.model.dim || query.iter().any(|value| !value.is_finite()) {
            let reason = format!("expected a vector of {} finite values, as {} gives", self.model.dim, self.model.name);
            return Err(Error::argument("query", reason));
        }
        let query = unit(query);
        self.seen(|database, snapshot| {
            let found = nearest(&snapshot.source(), &snapshot.slots, &query, top, least)?;
            let paths = paths_of(database, found.iter().map(|found| found.slot))?;
            let hits = found.iter().zip(paths).flat_map(|(found, paths)| {
                paths.into_iter().map(|path| Hit { path, score: found.score.clamp(-1.0, 1.0) })
            });
            Ok(hits.take(top).collect())
        })
    }

    /// Groups of photos that look the same: any two whose vectors have a cosine of `least` or more are in one group, and so are
    /// those that are linked by others. Groups with the most photos come first. In each, `score` is the highest cosine with another
    /// photo of the group.
    ///
    /// All pairs are compared: the time grows with the square of the number of photos.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn near_duplicates(&self, least: f32) -> Result<Vec<Vec<Hit>>> {
        self.seen(|database, snapshot| {
            let mut groups = groups(&snapshot.source(), &snapshot.slots, snapshot.vectors.dim(), least)?;
            // Copies share one vector, which needs no other to be a group.
            let grouped: BTreeSet<u64> = groups.iter().flatten().map(|found| found.slot).collect();
            let copies: Vec<u64> = database.wrap(|connection| {
                let query = "SELECT slot FROM photos WHERE slot IS NOT NULL GROUP BY slot HAVING count(*) > 1";
                connection.prepare(query)?.query_map((), |row| Ok(row.get::<_, i64>(0)? as u64))?.collect()
            })?;
            let alone = copies.into_iter().filter(|slot| !grouped.contains(slot));
            groups.extend(alone.map(|slot| vec![Found { slot, score: 1.0 }]));
            let mut all = Vec::new();
            for group in groups {
                let mut hits = Vec::new();
                let paths = paths_of(database, group.iter().map(|found| found.slot))?;
                for (found, paths) in group.iter().zip(paths) {
                    let score = if paths.len() > 1 { 1.0 } else { found.score.min(1.0) };
                    hits.extend(paths.into_iter().map(|path| Hit { path, score }));
                }
                hits.sort_by(|a, b| a.path.cmp(&b.path));
                all.push(hits);
            }
            all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a[0].path.cmp(&b[0].path)));
            Ok(all)
        })
    }

    /// Calls `each` with every photo that has a vector, by path, and its vector of length 1; all as of one moment. `begin` is called
    /// first, with the number of photos.
    ///
    /// # Errors
    /// As [`Index::search`], and those of `begin` and `each`.
    pub fn vectors<E: From<Error>>(
        &self,
        begin: impl FnOnce(usize) -> Result<(), E>,
        mut each: impl FnMut(&Path, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ended = Ok(());
        self.seen(|database, snapshot| {
            let photos: Vec<(PathBuf, u64)> = database.wrap(|connection| {
                let query = "SELECT path, slot FROM photos WHERE slot IS NOT NULL ORDER BY path";
                let row = |row: &rusqlite::Row<'_>| Ok((names::path(row.get(0)?), row.get::<_, i64>(1)? as u64));
                connection.prepare(query)?.query_map((), row)?.collect()
            })?;
            ended = begin(photos.len());
            // Photos that were indexed together mostly lie together.
            let width = snapshot.vectors.bytes();
            let (mut first, mut block) = (0, Vec::new());
            for (path, slot) in photos {
                if ended.is_err() {
                    break;
                }
                if !(first..first + (block.len() / width) as u64).contains(&slot) {
                    let count = ((BLOCK / width).max(1) as u64).min(snapshot.place.slots.saturating_sub(slot)).max(1);
                    (first, block) = (slot, vec![0; count as usize * width]);
                    snapshot.vectors.read(slot, &mut block)?;
                }
                let bytes = &block[(slot - first) as usize * width..][..width];
                let values: Vec<f32> = bytes.as_chunks::<2>().0.iter().map(|b| widen(u16::from_le_bytes(*b))).collect();
                ended = each(&path, &values);
            }
            Ok(())
        })?;
        ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` within one transaction, with the vectors that belong to it.
    fn seen<R>(&self, read: impl FnOnce(&Database, &Snapshot) -> Result<R>) -> Result<R> {
        let mut state = self.state();
        let State { database, snapshot } = &mut *state;
        let mut attempts = 0;
        loop {
            let _transaction = database.begin()?;
            match refreshed(database, snapshot.take(), self.model.dim, self.in_memory) {
                Ok(fresh) => return read(database, snapshot.insert(fresh)),
                // The vectors were written anew since the transaction began.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Snapshot {
    fn source(&self) -> Source<'_> {
        if self.memory.is_empty() { Source::File(&self.vectors) } else { Source::Memory(&self.memory) }
    }
}

/// The vectors of the transaction that has begun. Of those in memory, only what is new is read.
fn refreshed(database: &Database, before: Option<Snapshot>, dim: usize, in_memory: bool) -> Result<Snapshot> {
    let place = database.place()?;
    let (vectors, mut memory) = match before {
        Some(before) if before.place == place => return Ok(before),
        Some(before) if (before.place.generation, &before.place.mark) == (place.generation, &place.mark) => {
            (before.vectors, before.memory)
        }
        _ => (Vectors::open(&database.file, &place, dim, false)?, Vec::new()),
    };
    let slots = Slots::new(place.slots, &database.holes()?);
    if in_memory {
        let (there, width) = (memory.len(), vectors.bytes());
        memory.resize(place.slots as usize * width, 0);
        vectors.read((there / width) as u64, &mut memory[there..])?;
    }
    Ok(Snapshot { place, slots, vectors, memory })
}

/// The photos that have each of these vectors.
fn paths_of(database: &Database, slots: impl Iterator<Item = u64>) -> Result<Vec<Vec<PathBuf>>> {
    database.wrap(|connection| {
        let mut query = connection.prepare("SELECT path FROM photos WHERE slot = ?1 ORDER BY path")?;
        slots.map(|slot| query.query_map([slot as i64], |row| row.get(0).map(names::path))?.collect()).collect()
    })
}
