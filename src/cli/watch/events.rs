//! What has changed in folders: paths that were touched, once they have been left alone for a while.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::super::Failure;
use super::super::index::Folder;

/// How often it is looked whether something is due, and whether a folder has come back.
const TICK: Duration = Duration::from_millis(100);
const RETURN: Duration = Duration::from_secs(2);

/// What is to be looked at.
pub enum Due {
    Paths(Vec<PathBuf>),
    /// Everything: the system has lost count, or a folder has come back.
    All,
}

/// Changes in folders and below.
pub struct Events {
    watcher: RecommendedWatcher,
    receiver: Receiver<notify::Result<Event>>,
    settle: Duration,
    /// When each path was last touched.
    changed: BTreeMap<PathBuf, Instant>,
    all: bool,
    /// Folders that are not there, such as those of a disk that is not mounted.
    lost: Vec<PathBuf>,
    looked: Instant,
}

impl Events {
    /// Begins to watch these folders. A path is due when it has not changed for `settle`.
    ///
    /// # Errors
    /// [`Failure::Usage`] where the system can't watch them.
    pub fn of(folders: &[Folder], settle: Duration) -> Result<Events, Failure> {
        let (sender, receiver) = channel();
        let failed = |error| Failure::Usage(format!("folders can't be watched: {}", reason(&error)));
        // As everywhere, links to folders are not followed.
        let config = Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(sender, config).map_err(failed)?;
        let (changed, looked) = (BTreeMap::new(), Instant::now());
        let mut events = Events { watcher, receiver, settle, changed, all: false, lost: Vec::new(), looked };
        for (folder, _) in folders {
            if folder.is_dir() {
                events.watch(folder)?;
            } else {
                events.lost.push(folder.clone());
            }
        }
        Ok(events)
    }

    fn watch(&mut self, folder: &Path) -> Result<(), Failure> {
        let watched = self.watcher.watch(folder, RecursiveMode::Recursive);
        watched.map_err(|error| Failure::Usage(format!("{}: can't be watched: {}", folder.display(), reason(&error))))
    }

    /// Looks at a path again, as if it had been touched just now.
    pub fn later(&mut self, path: &Path) {
        self.changed.insert(path.to_path_buf(), Instant::now());
    }

    /// Waits for a folder that is gone to come back.
    pub fn lose(&mut self, folder: &Path) {
        if !self.lost.iter().any(|lost| lost == folder) {
            log::warn!("{}: the folder is gone; its photos are kept until it is back", folder.display());
            self.lost.push(folder.to_path_buf());
        }
    }

    /// Whether a file of this time may still be written to. Some file systems tell nothing while it is.
    pub fn is_young(&self, modified: SystemTime) -> bool {
        SystemTime::now().duration_since(modified).is_ok_and(|age| age < self.settle)
    }

    /// What is due, after a short wait; there may be nothing.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the system stops watching.
    pub fn due(&mut self) -> Result<Due, Failure> {
        match self.receiver.recv_timeout(TICK) {
            Ok(event) => self.note(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Usage("the system no longer watches the folders".to_owned()));
            }
        }
        while let Ok(event) = self.receiver.try_recv() {
            self.note(event);
        }
        if self.looked.elapsed() >= RETURN {
            self.looked = Instant::now();
            let (back, lost) = std::mem::take(&mut self.lost).into_iter().partition(|folder| folder.is_dir());
            self.lost = lost;
            for folder in back as Vec<PathBuf> {
                log::info!("{}: the folder is back", folder.display());
                self.watch(&folder)?;
                self.all = true;
            }
        }
        if std::mem::take(&mut self.all) {
            return Ok(Due::All);
        }
        let (now, mut due) = (Instant::now(), Vec::new());
        self.changed.retain(|path, touched| {
            let quiet = now.duration_since(*touched) >= self.settle;
            if quiet {
                due.push(path.clone());
            }
            !quiet
        });
        Ok(Due::Paths(due))
    }

    fn note(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.all = true,
            Ok(Event { kind: EventKind::Access(_), .. }) => {}
            Ok(event) => event.paths.into_iter().for_each(|path| {
                self.changed.insert(path, Instant::now());
            }),
            Err(error) => log::warn!("watching: {}", reason(&error)),
        }
    }
}

fn reason(error: &notify::Error) -> String {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system allows no more watched folders (on Linux, the setting fs.inotify.max_user_watches)".to_owned()
        }
        _ => error.to_string().replace('\n', " "),
    }
}
