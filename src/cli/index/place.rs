//! Where an index is, and the model that it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use vit_gpu::index::{IndexWriter, IndexedModel};
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::{Error, Precision, Session};

use super::super::Failure;
use super::super::options::{RunOptions, image_size};

/// Names of options that vectors depend on, as the index keeps them.
const IMAGE_SIZE: &str = "--image-size";
const NO_EXIF: &str = "--no-exif";

/// Which index.
#[derive(clap::Args)]
pub struct IndexOption {
    /// The index [default: vit-gpu/photos.index in the user's data folder]
    #[arg(id = "index_file", long = "index", value_name = "FILE")]
    index: Option<PathBuf>,
}

impl IndexOption {
    /// The file of the index, which may not be there.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no folder for it.
    pub fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.index {
            return Ok(file.clone());
        }
        let none = |_| Failure::Usage("this user has no folder for data: use --index FILE".to_owned());
        Ok(etcetera::choose_base_strategy().map_err(none)?.data_dir().join("vit-gpu").join("photos.index"))
    }

    /// The same, with the folder that it is in by default.
    pub fn file_to_write(&self) -> Result<PathBuf, Failure> {
        let file = self.file()?;
        if let (None, Some(folder)) = (&self.index, file.parent()) {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
        }
        Ok(file)
    }
}

/// The model of an index: what the index says, if it is there, and what is asked for.
pub struct Maker {
    run: RunOptions,
    /// Whether EXIF orientations are ignored.
    pub no_exif: bool,
    made: Option<IndexedModel>,
}

impl Maker {
    /// The model of the index in this file, for which nothing need be said; for a new index, the model that is asked for, or else
    /// `default`.
    ///
    /// # Errors
    /// [`Failure::Engine`] for what is no index; [`Failure::Usage`] for another precision than the index has.
    pub fn of(file: &Path, run: &RunOptions, no_exif: bool, default: Option<&str>) -> Result<Maker, Failure> {
        let mut run = run.clone();
        let made = IndexWriter::model_of(file)?;
        let Some(made) = made else {
            run.model.model = run.model.model.or_else(|| default.map(str::to_owned));
            return Ok(Maker { run, no_exif, made });
        };
        if run.model.model.is_none() && made.name != Checkpoint::bundled()?.name {
            run.model.model = Some(made.name.clone());
        }
        let size = made.options.get(IMAGE_SIZE).and_then(|size| image_size(size).ok());
        run.model.image_size = run.model.image_size.or(size);
        if run.precision == Precision::F32 {
            run.precision = made.precision.parse().unwrap_or_default();
        }
        let no_exif = no_exif || made.options.contains_key(NO_EXIF);
        Ok(Maker { run, no_exif, made: Some(made) })
    }

    /// The model as the index has it.
    pub fn made(&self) -> Option<&IndexedModel> {
        self.made.as_ref()
    }

    /// Whether the user says what the model must be, so that it must be compared with the index's.
    pub fn is_asked(given: &RunOptions, no_exif: bool) -> bool {
        let model = &given.model;
        model.model.is_some() || model.image_size.is_some() || given.precision != Precision::F32 || no_exif
    }

    /// Opens the model, to compute in this precision, or in that of the index.
    pub fn session(&self) -> Result<Session, Failure> {
        Ok(self.run.session()?)
    }

    /// The same to embed queries, in f32 if the index was made in f16 on another device.
    pub fn session_for_queries(&self, precision: Precision) -> Result<Session, Failure> {
        Ok(RunOptions { precision, ..self.run.clone() }.session()?)
    }

    /// What vectors of this session are made by.
    pub fn model(&self, session: &Session) -> Result<IndexedModel, Failure> {
        let size = self.run.model.image_size.map(|(h, w)| (IMAGE_SIZE.to_owned(), format!("{h}x{w}")));
        let exif = self.no_exif.then(|| (NO_EXIF.to_owned(), "given".to_owned()));
        let options: BTreeMap<_, _> = size.into_iter().chain(exif).collect();
        let mut model = IndexedModel::of(session, options, self.made.as_ref())?;
        // The index may be used from another folder.
        if let Some(path) = self.run.model.model.as_ref().map(Path::new).filter(|path| path.exists())
            && let Some(path) = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok())
        {
            model.name = path;
        }
        Ok(model)
    }
}
