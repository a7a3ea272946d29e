//! A model that names what is in a picture.

use std::path::Path;

use super::handle::Session;
use super::model::Model;
use crate::error::{Error, Result};
use crate::labels::Prediction;
use crate::preprocess::Image;

/// A model that names what is in a picture: the short way to a [`Session`]. Clones share the model.
///
/// ```
/// # #[cfg(all(feature = "bundled", feature = "decode"))]
/// # fn main() -> vit_gpu::Result<()> {
/// use vit_gpu::{Classifier, Image};
///
/// let classifier = Classifier::bundled()?; // or Classifier::open("path/to/model")?
/// let best = classifier.classify(&Image::open("assets/cat.png")?)?;
/// assert_eq!(best[0].label.as_deref(), Some("cat"));
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "bundled", feature = "decode")))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Classifier {
    session: Session,
    top_k: usize,
}

impl Classifier {
    /// Opens a model's files on the best device.
    ///
    /// # Errors
    /// As [`Session::open`]; [`Error::NoHead`] for a model without a classification head.
    pub fn open(path: impl AsRef<Path>) -> Result<Classifier> {
        Classifier::new(Session::open(path)?)
    }

    /// The model that comes with the crate, on the best device: CIFAR-10's ten classes. Needs the feature `bundled`.
    ///
    /// # Errors
    /// As [`crate::SessionBuilder::build`].
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Classifier> {
        Classifier::new(Session::builder().build(Model::bundled()?)?)
    }

    /// Classifies by a session, which says where and how.
    ///
    /// # Errors
    /// [`Error::NoHead`] for a model without a classification head.
    pub fn new(session: Session) -> Result<Classifier> {
        if session.model().num_classes() == 0 {
            return Err(Error::NoHead { model: session.model().name().to_owned() });
        }
        Ok(Classifier { session, top_k: 5 })
    }

    /// How many classes are given for an image; 5 without this. 0 counts as 1, and all classes are given where there are fewer.
    #[must_use]
    pub fn top_k(self, top_k: usize) -> Classifier {
        Classifier { top_k: top_k.max(1), ..self }
    }

    /// The classes of an image with the highest scores, best first.
    ///
    /// # Errors
    /// [`Error::Image`] if the image can't be brought to the model's size; [`Error::NotFinite`] for a result that is no number;
    /// errors of the device.
    pub fn classify(&self, image: &Image) -> Result<Vec<Prediction>> {
        self.session.classify(std::slice::from_ref(image), self.top_k).map(|mut all| all.swap_remove(0))
    }

    /// The same of many images, in batches that keep the device busy. An image without a result fails alone.
    ///
    /// # Errors
    /// [`Error::Argument`] without images; errors of the device.
    pub fn classify_batch(&self, images: &[Image]) -> Result<Vec<Result<Vec<Prediction>>>> {
        self.session.classify_each(images, self.top_k)
    }

    /// As [`Classifier::classify_batch`], without blocking.
    ///
    /// # Errors
    /// As [`Classifier::classify_batch`].
    pub async fn classify_async(&self, images: &[Image]) -> Result<Vec<Result<Vec<Prediction>>>> {
        self.session.classify_async(images, self.top_k).await
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.session.model()
    }

    /// The session that the classifier uses.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}
