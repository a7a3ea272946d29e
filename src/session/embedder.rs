//! A model that turns pictures into vectors.

use std::path::Path;

use super::handle::Session;
use super::model::Model;
use crate::error::Result;
use crate::preprocess::Image;

/// A model that turns pictures into vectors, close to each other where the pictures are alike: the short way to a [`Session`].
/// Clones share the model.
///
/// ```
/// # #[cfg(all(feature = "bundled", feature = "decode"))]
/// # fn main() -> vit_gpu::Result<()> {
/// use vit_gpu::{Embedder, Image, Model, Session};
///
/// let session = Session::builder().build(Model::bundled()?)?; // or Embedder::open("path/to/model")?
/// let embedder = Embedder::new(session).normalized(true);
/// let vector = embedder.embed(&Image::open("assets/cat.png")?)?;
/// assert_eq!(vector.len(), embedder.dim());
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "bundled", feature = "decode")))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Embedder {
    session: Session,
    normalized: bool,
}

impl Embedder {
    /// Opens a model's files on the best device.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Embedder> {
        Ok(Embedder::new(Session::open(path)?))
    }

    /// Embeds by a session, which says where and how.
    #[must_use]
    pub fn new(session: Session) -> Embedder {
        Embedder { session, normalized: false }
    }

    /// Whether every vector is scaled to length 1, so that the dot product of two is their cosine; not without this.
    #[must_use]
    pub fn normalized(self, normalized: bool) -> Embedder {
        Embedder { normalized, ..self }
    }

    /// Values of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.model().embedding_dim()
    }

    /// The pooled vector of an image: what the model's head is given, or its pooler's or projection's output.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) if the image can't be brought to the model's size;
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a result that is no number; errors of the device.
    pub fn embed(&self, image: &Image) -> Result<Vec<f32>> {
        self.embed_batch(std::slice::from_ref(image))?.swap_remove(0)
    }

    /// The same of many images, in batches that keep the device busy. An image without a result fails alone.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) without images; errors of the device.
    pub fn embed_batch(&self, images: &[Image]) -> Result<Vec<Result<Vec<f32>>>> {
        self.session.embed_each(images).map(|vectors| self.scaled(vectors))
    }

    /// As [`Embedder::embed_batch`], without blocking.
    ///
    /// # Errors
    /// As [`Embedder::embed_batch`].
    pub async fn embed_async(&self, images: &[Image]) -> Result<Vec<Result<Vec<f32>>>> {
        self.session.embed_async(images).await.map(|vectors| self.scaled(vectors))
    }

    fn scaled(&self, mut vectors: Vec<Result<Vec<f32>>>) -> Vec<Result<Vec<f32>>> {
        if self.normalized {
            vectors.iter_mut().flatten().for_each(|vector| normalize(vector));
        }
        vectors
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.session.model()
    }

    /// The session beneath.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// Scales a vector to length 1; as with PyTorch's `F.normalize`, one of zeros stays one.
pub fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length.max(1e-12)) as f32);
}
