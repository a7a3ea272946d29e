//! A model's files, opened.

use std::io::{Read, Seek};
use std::path::Path;

use super::located::located;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::model::Head;

/// A Vision Transformer from files of timm, Hugging Face transformers, torchvision, open_clip and others, unchanged: its sizes,
/// preprocessing and class names. Weights are read when a [`Session`](crate::Session) needs them; clones share the file.
///
/// ```
/// # #[cfg(feature = "bundled")]
/// # fn main() -> vit_gpu::Result<()> {
/// let model = vit_gpu::Model::bundled()?;
/// assert_eq!((model.image_size(), model.num_classes()), ((32, 32), 10));
/// assert_eq!(model.label(3), Some("cat"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "bundled"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Model(pub(crate) Checkpoint);

impl Model {
    /// Opens a folder (weights, `config.json`, `preprocessor_config.json`) or a `.safetensors` or `.npz` file, with the
    /// configuration beside it if there is one.
    ///
    /// The folder may be a LoRA adapter in PEFT's format (`adapter_config.json`, `adapter_model.safetensors`). It is merged into
    /// its base model, which must be at the path that the adapter names, or, with the feature `hub`, in the cache.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Safetensors`] and [`Error::Config`] for files that can't be read; [`Error::MissingTensor`],
    /// [`Error::WrongShape`], [`Error::UnusedTensors`] and [`Error::Contradiction`] where weights and configuration do not fit
    /// each other; [`Error::Model`] for what can't be run; [`Error::Feature`] for `.npz` in a build without the feature `npz`.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Checkpoint::open(&located(text(path.as_ref())?)?).map(Model)
    }

    /// As [`Model::open`], to run images of another size (height, width, in pixels) than the model's own: its position table is
    /// resampled as its library would, and preprocessing follows.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::Config`] for a size that has no patches.
    pub fn open_at(path: impl AsRef<Path>, image_size: (usize, usize)) -> Result<Model> {
        Checkpoint::open_at(&located(text(path.as_ref())?)?, Some(image_size)).map(Model)
    }

    /// Opens a model in memory: the bytes of a `.safetensors` or `.npz` file, and the texts of its `config.json` (or
    /// `open_clip_config.json`) and `preprocessor_config.json`, where it has them.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(weights: Vec<u8>, config: Option<&str>, preprocessor: Option<&str>) -> Result<Model> {
        Checkpoint::from_bytes("memory", weights, config, preprocessor).map(Model)
    }

    /// As [`Model::from_bytes`], from a reader, which is read to its end.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::Io`] if reading fails.
    pub fn from_reader(mut weights: impl Read, config: Option<&str>, preprocessor: Option<&str>) -> Result<Model> {
        let mut bytes = Vec::new();
        weights.read_to_end(&mut bytes).map_err(Error::io("memory"))?;
        Model::from_bytes(bytes, config, preprocessor)
    }

    /// As [`Model::from_bytes`], from a reader that stays open: each tensor is read when a session needs it, so that the whole
    /// file is never in memory (an `.npz` archive is). For a file within another, or one that is somewhere else altogether. `name` is
    /// what errors and [`Model::name`] call it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let weights = std::fs::File::open("assets/vit-nano-cifar10/model.safetensors")?;
    /// let config = std::fs::read_to_string("assets/vit-nano-cifar10/config.json")?;
    /// let model = vit_gpu::Model::from_seekable("nano", weights, Some(&config), None)?;
    /// assert_eq!(model.num_classes(), 10);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Model::open`]. If reading fails later, calls that need the weights fail with [`Error::Io`].
    pub fn from_seekable(
        name: &str,
        weights: impl Read + Seek + Send + 'static,
        config: Option<&str>,
        preprocessor: Option<&str>,
    ) -> Result<Model> {
        Checkpoint::from_seekable(name, weights, config, preprocessor).map(Model)
    }

    /// The model that comes with the crate: a small ViT that tells CIFAR-10's ten classes apart in images of 32x32. Needs the feature
    /// `bundled`.
    ///
    /// # Errors
    /// None in a crate that was packed whole.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Model> {
        Checkpoint::bundled().map(Model)
    }

    /// As [`Model::bundled`], to run images of another size (height, width, in pixels); see [`Model::open_at`].
    ///
    /// # Errors
    /// [`Error::Config`] for a size that has no patches.
    #[cfg(feature = "bundled")]
    pub fn bundled_at(image_size: (usize, usize)) -> Result<Model> {
        Checkpoint::bundled_at(Some(image_size)).map(Model)
    }

    /// What was opened, as it was named; `memory` for a model from bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whose layout the weights have: `timm`, `huggingface-vit`, `torchvision`, …
    #[must_use]
    pub fn family(&self) -> &str {
        self.0.family
    }

    /// Height and width of the images that the model takes, in pixels; any image is resized and cropped to it as the model
    /// was trained.
    #[must_use]
    pub fn image_size(&self) -> (usize, usize) {
        self.0.config.img_size
    }

    /// Channels of `pixel_values`: 3 for images.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.0.config.in_chans
    }

    /// How many blocks it has; hidden states are counted from 0 to this.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.config.depth
    }

    /// Rows and columns of patches, whose tokens come last, row by row, after those that are not patches (the class token and its
    /// like).
    #[must_use]
    pub fn patch_grid(&self) -> (usize, usize) {
        self.0.config.grid()
    }

    /// How many classes its head has; 0 without a head.
    #[must_use]
    pub fn num_classes(&self) -> usize {
        if self.0.config.head == Head::None { 0 } else { self.0.config.num_classes }
    }

    /// The name of a class, where the files (or ImageNet's list, for 1,000 classes) give it one.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<&str> {
        self.0.labels.get(index)
    }

    /// Values of an embedding: the pooled vector.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.0.config.pooled_dim()
    }

    /// Tokens of an image (patches, and the class token and its like) and values of each, D.
    #[must_use]
    pub fn token_shape(&self) -> (usize, usize) {
        (self.0.config.tokens(), self.0.config.embed_dim)
    }
}

impl From<Checkpoint> for Model {
    fn from(checkpoint: Checkpoint) -> Model {
        Model(checkpoint)
    }
}

fn text(path: &Path) -> Result<&str> {
    let not_text = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not text in Unicode");
    path.to_str().ok_or_else(|| Error::Io { path: path.to_path_buf(), source: not_text() })
}
