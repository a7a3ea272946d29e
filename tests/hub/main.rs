//! Models by name, against a server that behaves like the hub; no test asks anyone else.

#[cfg(feature = "cli")]
mod adapters;
#[cfg(feature = "cli")]
mod command_line;
mod faults;
mod pulls;
mod resumed;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use vit_gpu::internals::hub::{self, Found, Settings};
use vit_gpu::{Error, HubFault};

use server::Hub;

/// A cache of its own for each test, and the hub that fills it.
struct Place {
    hub: Hub,
    settings: Settings,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(hub: Hub) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            endpoint: hub.url.clone(),
            cache: folder.path().join("hub"),
            token: None,
            offline: false,
            symlinks: true,
            answer: Duration::from_secs(5),
            stall: Duration::from_secs(1),
            certificates: None,
        };
        Place { hub, settings, folder }
    }

    fn pull(&self, name: &str) -> vit_gpu::Result<Found> {
        hub::pull(name, &self.settings, &mut |_, _| ())
    }

    /// The fault and the line of a pull that must fail.
    #[track_caller]
    fn fails(&self, name: &str) -> (HubFault, String) {
        let error = self.pull(name).unwrap_err();
        let line = error.to_string();
        assert!(!line.contains('\n') && line.starts_with(&format!("{name}: ")), "{line}");
        match error {
            Error::Hub { fault, .. } => (fault, line),
            other => panic!("{other:?}"),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn cache(&self, path: &str) -> PathBuf {
        self.settings.cache.join(path)
    }

    /// Every file and link below the cache, as paths with slashes.
    fn tree(&self) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), vec![self.settings.cache.clone()]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        let short =
            |path: &PathBuf| path.strip_prefix(&self.settings.cache).unwrap().to_str().unwrap().replace('\\', "/");
        let mut names: Vec<String> = found.iter().map(short).collect();
        names.sort();
        names
    }
}

/// Names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
