//! A results file that is written as `NAME.part`, goes on where an earlier run stopped, and takes its place when it is whole.
//!
//! Beside `NAME.part` lies `NAME.state`: first what the rows were made with, then a line for each time that rows were complete.
//! So a run that dies at any moment leaves a part whose complete rows are known.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vit_gpu::Error;

use super::super::Failure;
use super::identity::Identity;

/// A line of the state: the rows of so many images are complete, and end at this byte of the part.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Mark {
    images: usize,
    bytes: u64,
}

/// The unfinished file. Dropping it keeps what was written, if it has a complete row.
pub struct Part {
    target: PathBuf,
    path: PathBuf,
    state_path: PathBuf,
    /// Locked as long as this run goes on.
    state: File,
    out: BufWriter<File>,
    bytes: u64,
    mark: Mark,
    /// What an earlier run ran that the mark is of.
    earlier: Option<Identity>,
    finished: bool,
}

impl Part {
    /// Opens the part for writing, locks it against other runs, and finds what an earlier run left.
    ///
    /// # Errors
    /// [`Failure::Usage`] if another run is writing it, or if it has rows and `resume` is false; [`Failure::Engine`] if the
    /// folder is missing or can't be written.
    pub fn open(target: &Path, resume: bool) -> Result<Part, Failure> {
        let io = |source| Failure::Engine(Error::Io { path: target.to_path_buf(), source });
        if target.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        let (path, state_path) = (beside(target, ".part"), beside(target, ".state"));
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let state = loop {
            let state = open(&state_path).map_err(io)?;
            match state.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::Usage(format!("{}: another run is writing it", target.display())));
                }
                // File systems without locks have none to respect.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            // A run that has just finished may have removed the file that was locked.
            let same = |state: &File| Ok(handle(state.try_clone()?)? == same_file::Handle::from_path(&state_path)?);
            match same(&state) {
                Ok(true) => break state,
                Ok(false) => {}
                Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        };
        let file = open(&path).map_err(io)?;
        let mut part = Part {
            target: target.to_path_buf(),
            path,
            state_path,
            state,
            out: BufWriter::with_capacity(1 << 18, file),
            bytes: 0,
            mark: Mark::default(),
            earlier: None,
            finished: false,
        };
        part.find().map_err(io)?;
        if part.mark.images > 0 && !resume {
            let (part, images) = (part.path.display(), part.mark.images);
            let reason = format!(
                "{part} has the rows of {images} images of a run that did not finish: add --resume to go on, or delete it to begin again"
            );
            return Err(Failure::Usage(reason));
        }
        Ok(part)
    }

    /// Reads what an earlier run wrote into the state: what it ran, and its last mark that the part reaches.
    fn find(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        self.state.seek(SeekFrom::Start(0))?;
        self.state.read_to_end(&mut text)?;
        let len = self.out.get_ref().metadata()?.len();
        // The last line may be torn.
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        self.earlier = lines.next().and_then(|line| serde_json::from_slice(line).ok());
        if self.earlier.is_some() {
            let mut marks = lines.filter_map(|line| serde_json::from_slice::<Mark>(line).ok());
            self.mark = marks.rfind(|mark| mark.bytes <= len).unwrap_or_default();
        }
        Ok(())
    }

    /// Goes on behind the complete rows of an earlier run of the same kind, or begins anew. Returns how many images are done.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the earlier run had another model, other options or other images.
    pub fn begin(&mut self, identity: &Identity, head: &[u8]) -> Result<usize, Failure> {
        let mark = self.mark;
        if let Some(earlier) = self.earlier.as_ref().filter(|_| mark.images > 0) {
            if let Some(difference) = earlier.difference(identity) {
                let reason = format!("{}: can't go on with it, because {difference}", self.path.display());
                return Err(Failure::Usage(reason));
            }
            self.out.get_ref().set_len(mark.bytes)?;
            self.out.seek(SeekFrom::Start(mark.bytes))?;
            self.state.seek(SeekFrom::End(0))?;
            // Ends a line that may be torn, so that the next one is not taken for its end.
            self.mark_line(mark, true)?;
            return Ok(mark.images);
        }
        self.state.set_len(0)?;
        self.state.seek(SeekFrom::Start(0))?;
        let line = serde_json::to_string(identity).map_err(io::Error::from)?;
        writeln!(self.state, "{line}")?;
        self.out.get_ref().set_len(0)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.write(head)?;
        Ok(0)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// States that all rows of the first `images` images are written.
    pub fn commit(&mut self, images: usize) -> io::Result<()> {
        self.out.flush()?;
        self.mark_line(Mark { images, bytes: self.bytes }, false)
    }

    fn mark_line(&mut self, mark: Mark, first: bool) -> io::Result<()> {
        (self.mark, self.bytes) = (mark, mark.bytes);
        let line = format!("{}{}\n", if first { "\n" } else { "" }, serde_json::to_string(&mark)?);
        self.state.write_all(line.as_bytes())
    }

    /// Where the rows are, and for how many images.
    pub fn left(&self) -> Option<(&Path, usize)> {
        (!self.finished && self.mark.images > 0).then_some((&self.path, self.mark.images))
    }

    /// Puts the file in its place. If its format can't be written row by row, `convert` makes it from the rows.
    pub fn finish(mut self, convert: Option<&dyn Fn(File, File) -> io::Result<()>>) -> Result<(), Failure> {
        self.out.flush()?;
        let rename = |from: &Path| {
            std::fs::rename(from, &self.target).map_err(|source| Error::Io { path: self.target.clone(), source })
        };
        match convert {
            None => {
                self.out.get_ref().sync_all()?;
                rename(&self.path)?;
            }
            Some(convert) => {
                let whole = beside(&self.target, ".whole");
                let rows = File::open(&self.path)?;
                let file = File::create(&whole)?;
                let converted = convert(rows, file.try_clone()?).and_then(|()| file.sync_all());
                if let Err(error) = converted {
                    let _ = std::fs::remove_file(&whole);
                    return Err(error.into());
                }
                rename(&whole)?;
                std::fs::remove_file(&self.path)?;
            }
        }
        std::fs::remove_file(&self.state_path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished && self.mark.images == 0 {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_file(&self.state_path);
        }
    }
}

fn handle(file: File) -> io::Result<same_file::Handle> {
    same_file::Handle::from_file(file)
}

/// The same path with this behind its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
