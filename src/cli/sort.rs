//! `--sort-into`: photos linked, copied or moved into a folder for each label.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vit_gpu::Prediction;

use super::Failure;
use super::inputs::Input;

/// How photos are sorted.
#[derive(clap::Args)]
pub struct SortOptions {
    /// Also put every image into a folder in DIR that is named after its first class
    #[arg(long, value_name = "DIR")]
    sort_into: Option<PathBuf>,
    /// With --sort-into: link to the image, copy it, or move it
    #[arg(long, value_name = "link|copy|move", default_value = "link", requires = "sort_into")]
    sort_by: SortBy,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SortBy {
    Link,
    Copy,
    Move,
}

/// Puts images into folders.
pub struct Sorter {
    folder: PathBuf,
    by: SortBy,
}

impl SortOptions {
    /// The sorter, if there is one; its folder is made.
    ///
    /// # Errors
    /// [`Failure::Usage`] if images that were moved would be looked for again; [`Failure::Engine`] if the folder can't be made.
    pub fn sorter(&self, resume: bool) -> Result<Option<Sorter>, Failure> {
        let Some(folder) = &self.sort_into else { return Ok(None) };
        if resume && self.sort_by == SortBy::Move {
            return Err(Failure::Usage(
                "--resume finds images where they were, so it can't be used with --sort-by move".to_owned(),
            ));
        }
        let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
        let folder = made.map_err(|source| vit_gpu::Error::Io { path: folder.clone(), source })?;
        Ok(Some(Sorter { folder, by: self.sort_by }))
    }
}

impl Sorter {
    /// Puts an image into the folder of its first class; one without any stays where it is. An error is logged, and the image
    /// stays as well.
    pub fn sort(&self, input: &Input, class: Option<&Prediction>) {
        let (Input::File(path), Some(class)) = (input, class) else { return };
        let label = class.label.clone().unwrap_or_else(|| format!("class {}", class.index));
        if let Err(error) = self.put(path, &folder_name(&label)) {
            log::error!(
                "{}: not sorted into {}: {error}",
                path.display(),
                self.folder.join(folder_name(&label)).display()
            );
        }
    }

    /// Nothing is ever replaced: a second `a.jpg` becomes `a (2).jpg`. An image that is there already is left alone.
    fn put(&self, path: &Path, label: &str) -> io::Result<()> {
        let folder = self.folder.join(label);
        fs::create_dir_all(&folder)?;
        let source = std::path::absolute(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        for number in 1.. {
            let target = folder.join(if number == 1 { name.to_owned() } else { numbered(Path::new(name), number) });
            match self.put_as(&source, &target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.is_there(&source, &target) {
                        return Ok(());
                    }
                }
                done => return done,
            }
        }
        Ok(())
    }

    fn put_as(&self, source: &Path, target: &Path) -> io::Result<()> {
        match self.by {
            SortBy::Link => link(source, target),
            SortBy::Copy => copy(source, target),
            // A hard link fails if the target is there, which a rename would replace.
            SortBy::Move => match fs::hard_link(source, target) {
                Ok(()) => fs::remove_file(source),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                // Another file system, or one without hard links.
                Err(_) => copy(source, target).and_then(|()| fs::remove_file(source)),
            },
        }
    }

    /// Whether an earlier run has put it there.
    fn is_there(&self, source: &Path, target: &Path) -> bool {
        match self.by {
            SortBy::Link => {
                fs::read_link(target).is_ok_and(|link| link == source)
                    || same_file::is_same_file(source, target).unwrap_or(false)
            }
            SortBy::Copy => same_content(source, target).unwrap_or(false),
            SortBy::Move => false,
        }
    }
}

#[cfg(unix)]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(source, target)
}

/// Symbolic links need a privilege on Windows, so a hard link is made.
#[cfg(not(unix))]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    fs::hard_link(source, target)
}

/// Copies a file to a name that is not taken. A copy that fails is removed.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let mut from = fs::File::open(source)?;
    let mut to = fs::File::create_new(target)?;
    let copied = io::copy(&mut from, &mut to).and_then(|_| {
        let metadata = from.metadata()?;
        to.set_permissions(metadata.permissions())?;
        to.set_modified(metadata.modified()?)
    });
    if copied.is_err() {
        let _ = fs::remove_file(target);
    }
    copied
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(a.metadata()?.len() == b.metadata()?.len() && fs::read(a)? == fs::read(b)?)
}

/// `a (2).jpg` for `a.jpg`.
fn numbered(name: &Path, number: usize) -> std::ffi::OsString {
    let mut text = name.file_stem().unwrap_or_default().to_owned();
    text.push(format!(" ({number})"));
    if let Some(ending) = name.extension() {
        text.push(".");
        text.push(ending);
    }
    text
}

/// A label as a folder's name that every system takes: no separators and no control characters, no dot or space at either
/// end, no name that Windows keeps for devices, at most 100 bytes.
fn folder_name(label: &str) -> String {
    let safe = |c: char| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c };
    let mut name: String = label.chars().map(safe).collect();
    while name.len() > 100 {
        name.pop();
    }
    let name = name.trim_matches(['.', ' ']);
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered =
        |kind| stem.strip_prefix(kind).is_some_and(|n: &str| n.len() == 1 && n.as_bytes()[0].is_ascii_digit());
    let device = ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT");
    match name {
        "" => "_".to_owned(),
        _ if device => format!("_{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_names_that_every_system_takes() {
        for (label, name) in [
            ("tabby, tabby cat", "tabby, tabby cat"),
            ("../up", "_up"),
            ("a/b\\c:d", "a_b_c_d"),
            ("  ", "_"),
            ("", "_"),
            ("con", "_con"),
            ("Lpt1.x", "_Lpt1.x"),
            ("conch", "conch"),
            ("déjà\nvu", "déjà_vu"),
        ] {
            assert_eq!(folder_name(label), name, "{label}");
        }
        assert_eq!(folder_name(&"é".repeat(80)).len(), 100);
        assert_eq!(numbered(Path::new("a.b.jpg"), 2), "a.b (2).jpg");
        assert_eq!(numbered(Path::new("a"), 3), "a (3)");
    }
}
