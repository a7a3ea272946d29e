//! Photos whose classes are known: a folder for each class, or a table of paths and labels.

mod names;
mod table;

use std::path::{Path, PathBuf};

use vit_gpu::Error;

use super::Failure;
use super::folders::{FolderOptions, images_in};
use super::inputs::Input;
use super::options::BatchSize;

pub use names::{Classes, NameOptions};

/// Where labelled photos are.
#[derive(clap::Args)]
pub struct LabelledOptions {
    /// A folder with a folder of photos for each class, which is its name
    #[arg(required_unless_present = "from_csv", conflicts_with = "from_csv", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// In place of DIR: a table (CSV) whose first row names the columns, of which `path` and `label` are read; paths are relative to
    /// the table's folder
    #[arg(long, value_name = "FILE")]
    from_csv: Option<PathBuf>,
    #[command(flatten)]
    pub folders: FolderOptions,
    /// How many images are run together: a number or auto
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    pub batch_size: BatchSize,
}

/// Photos with their labels.
pub struct Labelled {
    /// Where they were found.
    pub source: PathBuf,
    pub inputs: Vec<Input>,
    /// The label of each photo, as a position in `names`.
    pub labels: Vec<usize>,
    /// All labels, sorted.
    pub names: Vec<String>,
}

impl LabelledOptions {
    /// The photos, sorted by label and name, or in the table's order.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there are none, and for a table without the columns.
    pub fn find(&self) -> Result<Labelled, Failure> {
        match (&self.from_csv, &self.dir) {
            (Some(file), _) => table::read(file),
            (None, dir) => in_folders(dir.as_deref().unwrap_or(Path::new(".")), &self.folders),
        }
    }
}

/// Photos in a folder for each class.
///
/// # Errors
/// [`Failure::Usage`] for a folder without folders, and if none of them has a photo.
pub fn in_folders(dir: &Path, options: &FolderOptions) -> Result<Labelled, Failure> {
    let failed = |source| Failure::Engine(Error::Io { path: dir.to_path_buf(), source });
    let (mut folders, mut loose) = (Vec::new(), 0);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !options.shows(&name) {
            continue;
        }
        if path.is_dir() {
            folders.push((name, path));
        } else {
            loose += 1;
        }
    }
    folders.sort();
    let shown = dir.display();
    if folders.is_empty() {
        return Err(Failure::Usage(format!(
            "{shown}: no folders in this folder, and each class needs one with its photos"
        )));
    }
    match loose {
        0 => {}
        1 => log::info!("{shown}: 1 file is in no class's folder, and is left out"),
        _ => log::info!("{shown}: {loose} files are in no class's folder, and are left out"),
    }
    let mut found = Labelled { source: dir.to_path_buf(), inputs: Vec::new(), labels: Vec::new(), names: Vec::new() };
    for (name, path) in folders {
        let images = images_in(&path, options);
        if images.is_empty() {
            log::warn!("{}: no images in this folder, so the class is left out", path.display());
            continue;
        }
        found.labels.extend(std::iter::repeat_n(found.names.len(), images.len()));
        found.inputs.extend(images);
        found.names.push(name);
    }
    if found.inputs.is_empty() {
        return Err(Failure::Usage(format!("{shown}: no images in the folders of this folder")));
    }
    Ok(found)
}
