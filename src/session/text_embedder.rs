//! A model that turns texts into vectors.

use std::path::Path;
use std::sync::Arc;

use super::embedder::normalize;
use super::handle::Session;
use super::model::Model;
use super::unblock::unblock;
use super::words::Words;
use crate::error::Result;
use crate::executor::wait;

/// A model of images and texts (CLIP, SigLIP) that turns texts into vectors, close to those that an [`Embedder`](crate::Embedder)
/// of the same session makes of images that they describe. Clones share the model. Needs the feature `text`.
///
/// ```no_run
/// # fn main() -> vit_gpu::Result<()> {
/// use vit_gpu::{Session, TextEmbedder};
///
/// let embedder = TextEmbedder::new(Session::open("clip-vit-base-patch32")?)?.normalized(true);
/// let vector = embedder.embed("two parrots on a branch")?;
/// assert_eq!(vector.len(), embedder.dim());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TextEmbedder {
    session: Session,
    words: Arc<Words>,
    normalized: bool,
}

impl std::fmt::Debug for TextEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEmbedder").field("session", &self.session).finish_non_exhaustive()
    }
}

impl TextEmbedder {
    /// Opens a model's files on the best device.
    ///
    /// # Errors
    /// As [`Session::open`] and [`TextEmbedder::new`].
    pub fn open(path: impl AsRef<Path>) -> Result<TextEmbedder> {
        TextEmbedder::new(Session::open(path)?)
    }

    /// Embeds by a session, which says where and how. The tokenizer's files are read; weights at the first text.
    ///
    /// # Errors
    /// [`Error::NoText`](crate::Error::NoText) if the model has no text half, or one that can't be run;
    /// [`Error::Model`](crate::Error::Model) and [`Error::Io`](crate::Error::Io) for a tokenizer whose files are missing or can't
    /// be read.
    pub fn new(session: Session) -> Result<TextEmbedder> {
        let words = Arc::new(Words::open(session.engine())?);
        Ok(TextEmbedder { session, words, normalized: false })
    }

    /// Whether every vector is scaled to length 1, so that the dot product of two is their cosine; not without this.
    #[must_use]
    pub fn normalized(self, normalized: bool) -> TextEmbedder {
        TextEmbedder { normalized, ..self }
    }

    /// Values of a vector, as many as those of an image's.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.words.config().embedding_dim()
    }

    /// The vector of a text: the projection of the text half. A text that is too long for the model is cut off.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if the tokenizer can't read it;
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a result that is no number; errors of the device.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>> {
        self.embed_batch(&[text]).map(|mut vectors| vectors.swap_remove(0))
    }

    /// The same of many texts, in batches that keep the device busy.
    ///
    /// # Errors
    /// As [`TextEmbedder::embed`]; [`Error::Argument`](crate::Error::Argument) without texts.
    pub fn embed_batch(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>> {
        wait(self.vectors(texts))
    }

    async fn vectors(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let mut vectors = self.words.embed(self.session.engine(), &texts).await?;
        if self.normalized {
            vectors.iter_mut().for_each(|vector| normalize(vector));
        }
        Ok(vectors)
    }

    /// As [`TextEmbedder::embed_batch`], without blocking.
    ///
    /// # Errors
    /// As [`TextEmbedder::embed_batch`].
    pub async fn embed_async(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>> {
        let (embedder, texts) = (self.clone(), texts.iter().map(|text| text.as_ref().to_owned()).collect::<Vec<_>>());
        unblock(async move || embedder.vectors(&texts).await).await
    }

    /// The ids of a text's tokens as the model's library makes them, padding included.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if the tokenizer can't read the text.
    pub fn token_ids(&self, text: &str) -> Result<Vec<u32>> {
        self.words.tokens(text).map(|tokens| tokens.ids)
    }

    /// How the model turns the cosine of an image's and a text's vector into a logit: the factor (`exp(logit_scale)`), and what is
    /// added (`logit_bias`; 0 where the model has none, as CLIP).
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file can't be read.
    pub fn logit_scale_and_bias(&self) -> Result<(f32, f32)> {
        self.words.scale_and_bias(self.session.engine())
    }

    /// Whether the model scores each text by itself with a sigmoid (SigLIP), instead of comparing texts by a softmax (CLIP).
    #[must_use]
    pub fn is_sigmoid(&self) -> bool {
        self.words.config().logit_bias
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
