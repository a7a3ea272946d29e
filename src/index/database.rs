//! The SQLite file: what is known of each photo, and of the index itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use super::made::IndexedModel;
use super::names::{self, beside};
use super::stamp::{Digest, Stamp};
use crate::error::{Error, Result};

/// What tells an index from other SQLite files: "vgpi".
const APPLICATION: i32 = 0x7667_7069;
/// The version of the tables.
const VERSION: i32 = 1;
/// How long another process's transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "
    CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE folders (path BLOB PRIMARY KEY, hidden INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE contents (digest BLOB PRIMARY KEY, slot INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE photos (path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, slot INTEGER, error TEXT)
        WITHOUT ROWID;
    CREATE INDEX photos_of_slot ON photos (slot);
    CREATE TABLE holes (slot INTEGER PRIMARY KEY);
";

/// An open index, in one thread.
pub struct Database {
    pub connection: Connection,
    pub file: PathBuf,
}

/// Where the vectors are, and how many of them count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the vector files.
    pub generation: u64,
    /// What the vector file's head must say.
    pub mark: String,
    /// How many vectors are in use or holes; what follows in the file is not known.
    pub slots: u64,
    /// How many transactions have changed which vectors are in use.
    pub changes: u64,
}

/// A row of the photos.
pub struct Row {
    pub path: PathBuf,
    pub stamp: Stamp,
    pub slot: Option<u64>,
    pub error: Option<String>,
}

impl Database {
    /// Opens an index, or an empty file for one, to write.
    ///
    /// # Errors
    /// [`Error::Index`] for what is no index, and [`Error::Io`] where none can be written.
    pub fn to_write(file: &Path) -> Result<Database> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // SQLite itself would open what can't be written to read it.
        let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file);
        options.map_err(Error::io(file))?;
        let database = Database::open(file, file, flags)?;
        database.exists()?;
        database.wrap(|connection| {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")
        })?;
        Ok(database)
    }

    /// Opens an index to read, beside a process that may be writing it.
    ///
    /// # Errors
    /// [`Error::Index`] for what is no index, or an empty one; [`Error::Io`] if there is none.
    pub fn to_read(file: &Path) -> Result<Database> {
        let database = Database::open_read(file)?;
        if database.exists()? { Ok(database) } else { Err(database.damaged("it is empty: nothing was indexed yet")) }
    }

    /// As [`Database::to_read`], where nothing may be in the file yet.
    pub fn open_read(file: &Path) -> Result<Database> {
        std::fs::File::open(file).map_err(Error::io(file))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Database::open(file, file, flags).and_then(|database| database.exists().map(|_| database));
        match opened {
            // Readers share memory in a file beside it. In a folder that can't be written, nobody writes the index either.
            Err(Error::Index { source: Some(source), .. })
                if cannot_share(&source) && !beside(file, "-wal").exists() =>
            {
                Database::open(file, Path::new(&uri(file)), flags | OpenFlags::SQLITE_OPEN_URI)
            }
            opened => opened,
        }
    }

    fn open(file: &Path, name: &Path, flags: OpenFlags) -> Result<Database> {
        let connection = Connection::open_with_flags(name, flags).map_err(|error| of_sqlite(file, error))?;
        let database = Database { connection, file: file.to_path_buf() };
        database.wrap(|connection| connection.busy_timeout(PATIENCE))?;
        Ok(database)
    }

    /// Whether the tables are there; an empty database has none yet.
    ///
    /// # Errors
    /// [`Error::Index`] for another program's database, and another version's.
    pub fn exists(&self) -> Result<bool> {
        let number = |name: &str| self.wrap(|c| c.pragma_query_value(None, name, |row| row.get::<_, i32>(0)));
        let tables: i64 = self.wrap(|c| c.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)))?;
        match (number("application_id")?, number("user_version")?) {
            (0, 0) if tables == 0 => Ok(false),
            (APPLICATION, VERSION) => Ok(true),
            (APPLICATION, version) => Err(self.damaged(format!(
                "it is an index of version {version}, and this program reads version {VERSION}: use the program that made it"
            ))),
            _ => Err(self.damaged("it is a database, but not an index of photos")),
        }
    }

    /// Makes the tables of a new index.
    pub fn create(&mut self, model: &IndexedModel, place: &Place) -> Result<()> {
        let (model, place) = (model.clone(), place.clone());
        self.write(|transaction| {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            for (key, value) in [
                ("model", model.name),
                ("fingerprint", model.fingerprint),
                ("precision", model.precision),
                ("dim", model.dim.to_string()),
                ("files", model.files),
            ] {
                set(transaction, key, &value)?;
            }
            for (name, value) in model.options {
                set(transaction, &format!("option {name}"), &value)?;
            }
            set_place(transaction, &place)
        })
    }

    /// Runs a transaction that writes. It is there as a whole, or not at all.
    pub fn write(&mut self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<()> {
        let file = self.file.clone();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let run = |transaction: Transaction<'_>| change(&transaction).and_then(|()| transaction.commit());
        transaction.and_then(run).map_err(|error| of_sqlite(&file, error))
    }

    /// Begins a transaction that reads: until it ends, everything is as of its first query.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        self.connection.unchecked_transaction().map_err(|error| of_sqlite(&self.file, error))
    }

    /// What `read` returns, with this index's name in its error.
    pub fn wrap<R>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R> {
        read(&self.connection).map_err(|error| of_sqlite(&self.file, error))
    }

    fn about(&self, key: &str) -> Result<Option<String>> {
        let query = "SELECT value FROM about WHERE key = ?1";
        self.wrap(|connection| connection.query_row(query, [key], |row| row.get(0)).optional())
    }

    fn needed(&self, key: &str) -> Result<String> {
        self.about(key)?.ok_or_else(|| self.damaged(format!("it is damaged: `{key}` is missing")))
    }

    fn number(&self, key: &str) -> Result<u64> {
        self.needed(key)?.parse().map_err(|_| self.damaged(format!("it is damaged: `{key}` is no number")))
    }

    /// The model that made the vectors.
    pub fn model(&self) -> Result<IndexedModel> {
        let options = self.wrap(|connection| {
            let mut query = connection.prepare("SELECT substr(key, 8), value FROM about WHERE key LIKE 'option %'")?;
            query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let dim = self.number("dim")?;
        if !(1..=1 << 20).contains(&dim) {
            return Err(self.damaged(format!("it is damaged: vectors of {dim} values")));
        }
        Ok(IndexedModel {
            name: self.needed("model")?,
            fingerprint: self.needed("fingerprint")?,
            precision: self.needed("precision")?,
            dim: dim as usize,
            options,
            files: self.needed("files")?,
        })
    }

    pub fn place(&self) -> Result<Place> {
        let (generation, mark) = (self.number("generation")?, self.needed("mark")?);
        Ok(Place { generation, mark, slots: self.number("slots")?, changes: self.number("changes")? })
    }

    /// The folders that were indexed, and whether what is hidden in them was.
    pub fn folders(&self) -> Result<Vec<(PathBuf, bool)>> {
        self.wrap(|connection| {
            let mut query = connection.prepare("SELECT path, hidden FROM folders ORDER BY path")?;
            query.query_map((), |row| Ok((names::path(row.get(0)?), row.get(1)?)))?.collect()
        })
    }

    /// All photos, by path.
    pub fn photos(&self, mut each: impl FnMut(Row)) -> Result<()> {
        self.wrap(|connection| {
            let mut query = connection.prepare("SELECT path, size, modified, slot, error FROM photos ORDER BY path")?;
            let mut rows = query.query(())?;
            while let Some(row) = rows.next()? {
                let stamp = Stamp { size: row.get::<_, i64>(1)? as u64, modified: row.get(2)? };
                let slot = row.get::<_, Option<i64>>(3)?.map(|slot| slot as u64);
                each(Row { path: names::path(row.get(0)?), stamp, slot, error: row.get(4)? });
            }
            Ok(())
        })
    }

    /// The content of each vector.
    pub fn contents(&self) -> Result<Vec<(Digest, u64)>> {
        self.wrap(|connection| {
            let mut query = connection.prepare("SELECT digest, slot FROM contents")?;
            let row = |row: &rusqlite::Row<'_>| Ok((Digest(row.get(0)?), row.get::<_, i64>(1)? as u64));
            query.query_map((), row)?.collect()
        })
    }

    pub fn holes(&self) -> Result<Vec<u64>> {
        self.wrap(|connection| {
            let mut query = connection.prepare("SELECT slot FROM holes")?;
            query.query_map((), |row| row.get::<_, i64>(0).map(|slot| slot as u64))?.collect()
        })
    }

    pub fn damaged(&self, reason: impl ToString) -> Error {
        Error::Index { file: self.file.clone(), reason: reason.to_string(), source: None }
    }
}

pub fn set(transaction: &Transaction<'_>, key: &str, value: &str) -> rusqlite::Result<()> {
    transaction.execute("INSERT OR REPLACE INTO about VALUES (?1, ?2)", [key, value]).map(drop)
}

pub fn set_place(transaction: &Transaction<'_>, place: &Place) -> rusqlite::Result<()> {
    set(transaction, "generation", &place.generation.to_string())?;
    set(transaction, "mark", &place.mark)?;
    set(transaction, "slots", &place.slots.to_string())?;
    set(transaction, "changes", &place.changes.to_string())
}

/// An error of SQLite, in the words of this crate.
fn of_sqlite(file: &Path, error: rusqlite::Error) -> Error {
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "it is not an index of photos".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => {
            "it is damaged: delete it and its files of vectors, and index again".to_owned()
        }
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another process keeps it locked".to_owned(),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "it can't be written".to_owned(),
        Some(ErrorCode::CannotOpen) => "it can't be opened".to_owned(),
        _ => format!("it can't be read or written: {}", error.to_string().replace('\n', " ")),
    };
    Error::Index { file: file.to_path_buf(), reason, source: Some(error.into()) }
}

/// Whether the reason is that nothing can be written beside the file.
fn cannot_share(source: &crate::error::Source) -> bool {
    let code = source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The file as an address that says that it does not change.
fn uri(file: &Path) -> std::ffi::OsString {
    let mut text = "file:".to_owned();
    for byte in names::bytes(file) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => text.push(*byte as char),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    (text + "?immutable=1").into()
}
