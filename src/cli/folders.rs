//! Which images a command line means: files as they are, folders as the images in and below them, `-` as standard input.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use walkdir::WalkDir;

use super::Failure;
use super::inputs::Input;
use super::options::Verbosity;

/// How folders are read.
#[derive(Args)]
pub struct FolderOptions {
    /// In folders, also read files and folders whose names begin with a dot
    #[arg(long)]
    hidden: bool,
}

/// A file in a folder is taken for an image if its name has one of these endings.
const ENDINGS: [&str; 17] = [
    "apng", "avif", "bmp", "dib", "gif", "heic", "heif", "hif", "jfif", "jpe", "jpeg", "jpg", "mpo", "png", "tif",
    "tiff", "webp",
];

/// Images in the order of the arguments, those of a folder by name; what can't be read is among them, with the reason.
///
/// # Errors
/// [`Failure::Usage`] for a folder with nothing to read.
pub fn find(arguments: &[OsString], options: &FolderOptions, verbosity: &Verbosity) -> Result<Vec<Input>, Failure> {
    let mut found = Found::default();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
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
            found.inputs.push(Input::File(path.to_path_buf()));
        }
    }
    if let Some(summary) = found.summary() {
        verbosity.say(&summary);
    }
    found.skipped.iter().for_each(|path| verbosity.detail(&format!("skipped: {}", path.display())));
    Ok(found.inputs)
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
    fn walk(&mut self, folder: &Path, hidden: bool) {
        let shown = |entry: &walkdir::DirEntry| {
            hidden || entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
        };
        for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(shown) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if entry.path_is_symlink() && entry.path().is_dir() => self.skipped.push(entry.into_path()),
                Ok(entry) if is_image(entry.path()) => self.inputs.push(Input::File(entry.into_path())),
                Ok(entry) => self.skipped.push(entry.into_path()),
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.inputs.push(Input::Unreadable(path, reason));
                }
            }
        }
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

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}
