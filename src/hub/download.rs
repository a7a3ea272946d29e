//! One file, from the hub to its blob: continued after a cut, checked, and put in place whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::api::{Api, Remote};
use super::cache::Repo;
use super::http::Answer;
use super::lock::Lock;
use crate::error::{Error, HubFault, Result};

/// How often a download is continued after cuts in which nothing came.
const TRIES: u32 = 4;
/// The largest file whose size nobody announced.
const LARGEST_UNKNOWN: u64 = 64 << 20;

/// How far a pull is, in bytes, and whom to tell.
pub struct Tally<'a> {
    /// Bytes of the files that are there.
    pub done: u64,
    /// Bytes of all files that the pull takes.
    pub of: u64,
    pub tell: &'a mut dyn FnMut(u64, u64),
}

impl Tally<'_> {
    fn at(&mut self, bytes: u64) {
        (self.tell)(self.done + bytes, self.of);
    }
}

/// A file of a commit.
pub struct Wanted<'a> {
    pub commit: &'a str,
    pub file: &'a str,
    pub remote: &'a Remote,
}

/// Fetches a file into its blob, unless another process has done it meanwhile. The lock is the caller's.
///
/// # Errors
/// [`Error::Hub`] if what came is not what was announced; [`Error::Io`] where it can't be written.
pub fn download(api: &Api, repo: &Repo, wanted: &Wanted, lock: &Lock, tally: &mut Tally) -> Result<()> {
    let digest = &wanted.remote.digest;
    let blob = repo.blob(digest);
    if blob.is_file() {
        return Ok(());
    }
    // Where locks do not work, nobody else may write to the same file.
    let ending = if lock.holds() { "incomplete".to_owned() } else { format!("{:08x}.incomplete", std::process::id()) };
    let path = blob.with_file_name(format!("{}.{ending}", digest.text()));
    let whole = || digest.is_of(&path).map_err(Error::io(&path));
    let mut part = Part::open(&path, wanted.remote.size)?;
    let continued = part.have > 0;
    part.fill(api, wanted, tally)?;
    if !whole()? && continued {
        // What was there before may be of anything.
        part.restart()?;
        part.fill(api, wanted, tally)?;
    }
    if !whole()? {
        drop(std::fs::remove_file(&path));
        let reason = format!("`{}` was downloaded, but its digest is not the one that the hub announced", wanted.file);
        return Err(api.damaged(reason));
    }
    // After a power cut, the file must not have its name without its content.
    part.out.sync_all().map_err(Error::io(&path))?;
    drop(part);
    std::fs::rename(&path, &blob).map_err(Error::io(&blob))
}

/// A file that is being downloaded.
struct Part<'a> {
    path: &'a Path,
    out: File,
    /// Bytes that are there.
    have: u64,
    size: Option<u64>,
    /// What the server that sent them calls their version, to continue only in the same one.
    version: Option<String>,
}

/// How an attempt failed.
enum Broken {
    /// It may go on from where it is.
    Cut(String),
    /// It makes no sense to try again.
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken::Failed(error)
    }
}

impl<'a> Part<'a> {
    fn open(path: &'a Path, size: Option<u64>) -> Result<Part<'a>> {
        let mut options = OpenOptions::new();
        let out = options.write(true).create(true).truncate(false).open(path).map_err(Error::io(path))?;
        let have = out.metadata().map_err(Error::io(path))?.len();
        let mut part = Part { path, out, have, size, version: None };
        // Without a size nobody knows whether it is whole.
        if size.is_none_or(|size| have > size) {
            part.restart()?;
        }
        part.out.seek(io::SeekFrom::End(0)).map_err(Error::io(path))?;
        Ok(part)
    }

    fn restart(&mut self) -> Result<()> {
        (self.have, self.version) = (0, None);
        self.out.set_len(0).and_then(|()| self.out.rewind()).map_err(Error::io(self.path))
    }

    fn fill(&mut self, api: &Api, wanted: &Wanted, tally: &mut Tally) -> Result<()> {
        let mut tries = 0;
        // Only an empty file is whole with no bytes and was never asked for.
        while self.size != Some(self.have) || self.have == 0 {
            let before = self.have;
            match self.attempt(api, wanted, tally) {
                Ok(()) => return Ok(()),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Cut(reason)) => {
                    tries = if self.have > before { 1 } else { tries + 1 };
                    if tries > TRIES {
                        let far = self.size.map_or(String::new(), |size| format!(" of {size}"));
                        let reason = format!("`{}` broke off after {}{far} bytes: {reason}", wanted.file, self.have);
                        return Err(api.name.error(HubFault::Cut, reason));
                    }
                    std::thread::sleep(Duration::from_millis(250) * tries);
                }
            }
        }
        Ok(())
    }

    /// One request, from where the file ends.
    fn attempt(&mut self, api: &Api, wanted: &Wanted, tally: &mut Tally) -> Result<(), Broken> {
        let mut headers = Vec::new();
        if self.have > 0 {
            headers.push(("Range", format!("bytes={}-", self.have)));
            headers.extend(self.version.clone().map(|version| ("If-Range", version)));
        }
        let answer = api.open(wanted.commit, wanted.file, &headers).map_err(Broken::Cut)?;
        match answer.status {
            // The whole file: the server does not continue, or it has another version.
            200 => self.restart()?,
            206 if self.continues(&answer) => {}
            // Nothing comes after what is there, or something from elsewhere.
            206 | 416 => {
                self.restart()?;
                return Err(Broken::Cut("the server did not continue where it was asked to".to_owned()));
            }
            408 | 429 | 500.. => return Err(Broken::Cut(format!("the server answers with status {}", answer.status))),
            // A signed address that has run out, for example: the hub gives a new one.
            status if !answer.is_hubs => {
                return Err(Broken::Cut(format!("the host that the hub redirects to answers with status {status}")));
            }
            _ => api.check(&answer, Some(wanted.file))?,
        }
        self.version = answer.header("etag").filter(|tag| tag.starts_with('"')).map(str::to_owned);
        self.copy(answer, api, wanted, tally)
    }

    /// Whether a part of a file begins where this one ends, and is of a file of the same size.
    fn continues(&self, answer: &Answer) -> bool {
        let range = answer.header("content-range").and_then(|range| range.strip_prefix("bytes "));
        let Some((range, total)) = range.and_then(|range| range.split_once('/')) else { return false };
        let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
        let same = total == "*" || total.trim().parse().ok() == self.size;
        self.have > 0 && start == Some(self.have) && same
    }

    fn copy(&mut self, mut answer: Answer, api: &Api, wanted: &Wanted, tally: &mut Tally) -> Result<(), Broken> {
        let most = self.size.unwrap_or(LARGEST_UNKNOWN);
        let mut body = answer.body.as_reader();
        let mut chunk = vec![0; 1 << 18];
        tally.at(self.have);
        loop {
            let count = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Broken::Cut(super::http::reason(&error.into()))),
            };
            if self.have + count as u64 > most {
                drop(std::fs::remove_file(self.path));
                let reason = format!("`{}` does not end after the {most} bytes that it may have", wanted.file);
                return Err(Broken::Failed(api.name.error(HubFault::Cut, reason)));
            }
            self.out.write_all(&chunk[..count]).map_err(Error::io(self.path))?;
            self.have += count as u64;
            tally.at(self.have);
        }
        match self.size {
            Some(size) if self.have < size => Err(Broken::Cut("it ended early".to_owned())),
            _ => Ok(()),
        }
    }
}
