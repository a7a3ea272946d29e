//! Which images a command line means: files as they are, folders as the images in and below them, `-` as standard input.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use vit_gpu::Error;
use walkdir::WalkDir;

use super::Failure;
use super::inputs::Input;

/// How folders are read.
#[derive(Args)]
pub struct FolderOptions {
    /// In folders, also read files and folders whose names begin with a dot
    #[arg(long)]
    hidden: bool,
}

impl FolderOptions {
    pub fn new(hidden: bool) -> FolderOptions {
        FolderOptions { hidden }
    }

    /// Whether what has this name is read.
    pub fn shows(&self, name: &str) -> bool {
        self.hidden || !name.starts_with('.')
    }
}

/// The images in one folder and below it, by name; there may be none.
pub fn images_in(folder: &Path, options: &FolderOptions) -> Vec<Input> {
    let mut found = Found::default();
    found.walk(folder, options.hidden);
    found.skipped.iter().for_each(|path| log::debug!("skipped: {}", path.display()));
    found.inputs
}

/// A file in a folder is taken for an image if its name has one of these endings.
const ENDINGS: [&str; 44] = [
    "apng", "avif", "bmp", "bw", "cur", "dds", "dib", "gif", "heic", "heif", "hif", "icb", "icns", "ico", "j2c", "j2k",
    "jfif", "jp2", "jpc", "jpe", "jpeg", "jpf", "jpg", "jpx", "mpo", "pbm", "pcx", "pfm", "pgm", "png", "pnm", "ppm",
    "psd", "qoi", "rgb", "rgba", "sgi", "tga", "tif", "tiff", "vda", "vst", "webp", "xbm",
];

/// Images in the order of the arguments, those of a folder by name; what can't be read is among them, with the reason.
///
/// # Errors
/// [`Failure::Usage`] for a folder with nothing to read.
pub fn find(arguments: &[OsString], list: Option<&OsStr>, options: &FolderOptions) -> Result<Vec<Input>, Failure> {
    let mut found = Found::default();
    let listed = list.map(paths_in).transpose()?.unwrap_or_default();
    let arguments = arguments.iter().map(|argument| (argument, argument == "-"));
    for (path, stdin) in arguments.chain(listed.iter().map(|path| (path, false))) {
        let path = Path::new(path);
        if stdin {
            found.inputs.push(Input::Stdin);
        } else if path.is_dir() {
            let before = found.inputs.len();
            found.walk(path, options.hidden);
            if found.inputs.len() == before {
                let (folder, endings) = (path.display(), ENDINGS.join(", "));
                let also = found.summary().map_or(String::new(), |summary| format!("; {summary}"));
                return Err(Failure::Usage(format!("{folder}: no images in this folder ({endings}){also}")));
            }
        } else {
            found.inputs.push(Input::File(path.into()));
        }
    }
    if let Some(summary) = found.summary() {
        log::info!("{summary}");
    }
    found.skipped.iter().for_each(|path| log::debug!("skipped: {}", path.display()));
    found.inputs.shrink_to_fit();
    Ok(found.inputs)
}

/// The paths in a list: one on each line, or ended by zero bytes as `find -print0` writes them. `-` is standard input.
fn paths_in(list: &OsStr) -> Result<Vec<OsString>, Failure> {
    let mut bytes = Vec::new();
    let read = if list == "-" {
        io::stdin().read_to_end(&mut bytes)
    } else {
        File::open(list).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|source| Error::Io { path: list.into(), source })?;
    let end = if bytes.contains(&0) { 0 } else { b'\n' };
    let lines = bytes.split(|byte| *byte == end).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).map(|line| path_of(line, list)).collect()
}

#[cfg(unix)]
fn path_of(bytes: &[u8], _: &OsStr) -> Result<OsString, Failure> {
    Ok(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).to_owned())
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8], list: &OsStr) -> Result<OsString, Failure> {
    let text = std::str::from_utf8(bytes);
    text.map(OsString::from).map_err(|_| Failure::Usage(format!("{}: not UTF-8 text", list.display())))
}

/// What was found so far.
#[derive(Default)]
struct Found {
    inputs: Vec<Input>,
    /// Files in folders that are not read.
    skipped: Vec<PathBuf>,
}

impl Found {
    /// A link to a folder is not followed, because it may lead back up; a link to nothing is a file that can't be read.
    /// Paths are sorted here, and not while walking, because `walkdir` would keep an entry for everything in a folder: among the
    /// paths that stay, so that the memory would not be given back.
    fn walk(&mut self, folder: &Path, hidden: bool) {
        let shown = |entry: &walkdir::DirEntry| {
            hidden || entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
        };
        let (inputs, skipped) = (self.inputs.len(), self.skipped.len());
        for entry in WalkDir::new(folder).into_iter().filter_entry(shown) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if entry.path_is_symlink() && entry.path().is_dir() => self.skipped.push(entry.into_path()),
                Ok(entry) if is_image(entry.path()) => self.inputs.push(Input::File(entry.into_path().into())),
                Ok(entry) => self.skipped.push(entry.into_path()),
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.inputs.push(Input::Unreadable(Box::new((path, reason))));
                }
            }
        }
        self.inputs[inputs..].sort_unstable_by(|a, b| a.path().cmp(b.path()));
        self.skipped[skipped..].sort_unstable();
    }

    /// `3 files were skipped: 2 .heic, 1 .txt`, if any were.
    fn summary(&self) -> Option<String> {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for path in &self.skipped {
            let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy().to_lowercase()));
            *kinds.entry(ending.unwrap_or_else(|| "without an ending".to_owned())).or_default() += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let list: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let count = self.skipped.len();
        let were = if count == 1 { "file was" } else { "files were" };
        (count > 0).then(|| format!("{count} {were} skipped: {}", list.join(", ")))
    }
}

/// Whether a file in a folder is taken for an image.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}
