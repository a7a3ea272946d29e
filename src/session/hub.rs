//! Models by name.

use std::path::PathBuf;

use super::model::Model;
use super::progress::Progress;
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
    /// If the hub can't be reached and files are used that were taken from it before: a line that says so.
    pub note: Option<String>,
}

/// Takes a model from the Hugging Face Hub, or from the cache that Python's `huggingface_hub` uses, and says where its files are.
/// Needs the feature `hub`.
///
/// The name is `owner/name`, `owner/name@revision` (a branch, a tag or a commit) or one of the short names that `vit-gpu models`
/// lists. Only what is needed is downloaded, and only what the cache lacks: a model that is there costs one request, or none
/// with a commit or if `HF_HUB_OFFLINE` is set. What was interrupted goes on where it stopped, and a file is put in place when
/// its digest is right. `on_progress` is told [`Progress::Download`]. The variables `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
/// `HF_TOKEN` and `HF_HUB_OFFLINE` have the meaning that they have in Python. This blocks until all is there.
///
/// # Errors
/// [`Error::Hub`](crate::Error::Hub), whose `fault` tells what kind of failure it is; [`Error::Io`](crate::Error::Io) where the
/// cache can't be read or written, a full disk among others.
pub fn pull(name: &str, mut on_progress: impl FnMut(Progress)) -> Result<Pulled> {
    let settings = Settings::from_env();
    let found = hub::pull(name, &settings, &mut |done, of| on_progress(Progress::Download { done, of }))?;
    Ok(Pulled { folder: found.folder, commit: found.commit, note: found.note })
}

impl Model {
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
        let mut model = Model::open(pull(name, on_progress)?.folder)?;
        name.clone_into(&mut model.0.name);
        Ok(model)
    }
}
