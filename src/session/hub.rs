//! Models by name.

use std::path::{Path, PathBuf};

use super::model::Model;
use super::progress::Progress;
use crate::checkpoint::{Checkpoint, Place};
use crate::error::Result;
use crate::hub::{self, Settings};

/// A model of the hub whose files are here; see [`pull`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pulled {
    /// The folder with its files, for [`Model::open`] and [`Model::open_at`].
    pub folder: PathBuf,
    /// The commit that they are of. `owner/name@COMMIT` gives the same files at any time, without asking the hub.
    pub commit: String,
    /// The folder of its base model, if it is an adapter.
    pub base: Option<PathBuf>,
    /// If the hub can't be reached and files are used that were taken from it before: a line that says so.
    pub note: Option<String>,
}

/// Takes a model from the Hugging Face Hub, or from the cache that Python's `huggingface_hub` uses, and says where its files are.
/// Needs the feature `hub`.
///
/// The name is `owner/name`, `owner/name@revision` (a branch, a tag or a commit) or one of the short names that `vit-gpu models`
/// lists. Only what is needed is downloaded, and only what the cache lacks: a model that is there costs one request, or none
/// with a commit or if `HF_HUB_OFFLINE` is set. What was interrupted goes on where it stopped, and a file is put in place when
/// its digest is right. If the model is an adapter (LoRA), the base model that it names is taken too. `on_progress` is told [`Progress::Download`]. The variables `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
/// `HF_TOKEN` and `HF_HUB_OFFLINE` have the meaning that they have in Python. This blocks until all is there.
///
/// # Errors
/// [`Error::Hub`](crate::Error::Hub), whose `fault` tells what kind of failure it is; [`Error::Io`](crate::Error::Io) where the
/// cache can't be read or written, a full disk among others.
pub fn pull(name: &str, mut on_progress: impl FnMut(Progress)) -> Result<Pulled> {
    let settings = Settings::from_env();
    let mut tell = |done, of| on_progress(Progress::Download { done, of });
    let found = hub::pull(name, &settings, &mut tell)?;
    // A base that was a path on the machine of the adapter's author is missed when the model is opened.
    let named = Place::base_on_hub(&found.folder.display().to_string())?.filter(|base| hub::is_name(base));
    let base = match named {
        Some(base) => {
            let pulled = hub::pull(&base, &settings, &mut tell).map_err(|error| hub::of_adapter(error, name))?;
            Some(pulled.folder)
        }
        None => None,
    };
    Ok(Pulled { folder: found.folder, commit: found.commit, base, note: found.note })
}

impl Pulled {
    fn place(&self) -> Place {
        Place { path: self.folder.display().to_string(), base: self.base.clone() }
    }
}

/// The place of a model that a user named: the file or folder of this name, or what `fetch` takes under it from the hub; of an adapter
/// on disk also that of its base model, which is fetched if it is named and not here. What is neither a path nor a name stays as it
/// is: opening it says what there is not.
pub fn place_of(name: &str, mut fetch: impl FnMut(&str) -> Result<Pulled>) -> Result<Place> {
    if !Path::new(name).exists() {
        let is_name = !name.starts_with("random:") && hub::is_name(name);
        return if is_name { Ok(fetch(name)?.place()) } else { Ok(name.into()) };
    }
    match Place::base_on_hub(name)?.filter(|base| hub::is_name(base)) {
        None => Ok(name.into()),
        Some(base) => {
            let base = fetch(&base).map_err(|error| hub::of_adapter(error, name))?;
            Ok(Place { path: name.to_owned(), base: Some(base.folder) })
        }
    }
}

impl Model {
    /// Opens a model that a user named, as the program does: a path if it exists, else a name on the hub (see [`pull`]); at
    /// another image size (height, width) if one is given. Of an adapter on disk, the base model is taken from the hub if it is
    /// named and not here. Needs the feature `hub`.
    ///
    /// # Errors
    /// As [`pull`], [`Model::open`] and [`Model::open_at`].
    pub fn named(
        name: &str,
        image_size: Option<(usize, usize)>,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Model> {
        let place = place_of(name, |name| pull(name, &mut on_progress))?;
        let mut checkpoint = Checkpoint::open_at(place, image_size)?;
        name.clone_into(&mut checkpoint.name);
        Ok(Model(checkpoint))
    }

    /// Opens a model of the Hugging Face Hub by its name: see [`pull`], which also opens the way to another image size. Needs the
    /// feature `hub`.
    ///
    /// ```no_run
    /// # fn main() -> vit_gpu::Result<()> {
    /// let model = vit_gpu::Model::from_hub("google/vit-base-patch16-224", |progress| println!("{progress:?}"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`pull`] and [`Model::open`].
    pub fn from_hub(name: &str, on_progress: impl FnMut(Progress)) -> Result<Model> {
        let pulled = pull(name, on_progress)?;
        let mut checkpoint = Checkpoint::open(pulled.place())?;
        name.clone_into(&mut checkpoint.name);
        Ok(Model(checkpoint))
    }
}
