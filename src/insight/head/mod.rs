//! Classifiers for classes of one's own, on features of a frozen model.

mod check;
mod file;
mod linear;
mod neighbours;

use std::path::Path;

use super::features::Features;
use crate::error::{Error, Result};
use crate::labels::{Prediction, highest, softmax};
use crate::preprocess::Image;
use crate::session::Session;

pub(super) use check::check;
pub use linear::Linear;
pub use neighbours::Neighbours;

/// What turns features into logits.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadKind {
    /// A linear classifier.
    Linear(Linear),
    /// The votes of the most similar examples.
    Neighbours(Neighbours),
}

/// A classifier for classes of one's own, which belongs to one model: it works on that model's features.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    labels: Vec<String>,
    features: Features,
    kind: HeadKind,
    /// The name of the model, and its fingerprint.
    model: String,
    fingerprint: String,
}

impl Head {
    /// A head for the session's model: which features it takes, the names of its classes, and the classifier. Reads all weights of
    /// the model, for its fingerprint.
    ///
    /// # Errors
    /// [`Error::Argument`] if the classifier has another number of classes than there are names, or of features than the model has.
    pub fn new(session: &Session, features: Features, labels: Vec<String>, kind: HeadKind) -> Result<Head> {
        let model = session.model().name().to_owned();
        let head = Head { labels, features, kind, model, fingerprint: session.checkpoint().fingerprint()? };
        head.check_sizes()?;
        let dim = features.dim(session.model());
        if head.width() != dim {
            let reason = format!("the classifier takes {} features, the model has {dim}", head.width());
            return Err(Error::argument("features", reason));
        }
        Ok(head)
    }

    /// Opens a file that [`Head::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read; [`Error::Safetensors`] if it is no such file; [`Error::Model`] if it is another file than a head.
    pub fn open(path: impl AsRef<Path>) -> Result<Head> {
        file::read(path.as_ref())
    }

    /// Writes a safetensors file: a linear classifier as `weight` `[K, F]` and `bias` `[K]`, examples as `features` `[N, F]` and
    /// `classes` `[N]`; names of classes and the model's fingerprint as metadata.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        file::write(self, path.as_ref())
    }

    /// Refuses a session whose model is not the one that the head was made for. Reads all weights of the model.
    ///
    /// # Errors
    /// [`Error::Model`] for another model: other weights, preprocessing or image size.
    pub fn check(&self, session: &Session) -> Result<()> {
        if session.checkpoint().fingerprint()? == self.fingerprint {
            return Ok(());
        }
        let reason = format!("the head was made for another model or image size ({})", self.model);
        Err(Error::model(session.model().name(), reason))
    }

    /// The names of the classes.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Which features the head takes.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// The classifier.
    #[must_use]
    pub fn kind(&self) -> &HeadKind {
        &self.kind
    }

    /// The name that the model had when the head was made.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The logit of each class. Their softmax is the score of each class.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features.
    pub fn logits(&self, features: &[f32]) -> Result<Vec<f32>> {
        if features.len() != self.width() {
            let reason = format!("the head takes {} values, {} given", self.width(), features.len());
            return Err(Error::shape("features", reason));
        }
        Ok(match &self.kind {
            HeadKind::Linear(linear) => linear.logits(features),
            HeadKind::Neighbours(neighbours) => neighbours.logits(features),
        })
    }

    /// The `top_k` classes of each image with the highest scores, best first. An image without a result fails alone. That the
    /// session has the head's model is for [`Head::check`] to say, once.
    ///
    /// # Errors
    /// As [`Features::of`].
    pub fn classify(&self, session: &Session, images: &[Image], top_k: usize) -> Result<Vec<Result<Vec<Prediction>>>> {
        let features = self.features.of(session, images)?;
        Ok(features.into_iter().map(|features| self.predictions(&features?, top_k)).collect())
    }

    /// The `top_k` classes with the highest scores, best first, for one image's features.
    ///
    /// # Errors
    /// As [`Head::logits`].
    pub fn predictions(&self, features: &[f32], top_k: usize) -> Result<Vec<Prediction>> {
        let logits = self.logits(features)?;
        let scores = softmax(&logits);
        let one = |index: usize| Prediction { index, label: self.labels.get(index).cloned(), score: scores[index] };
        Ok(highest(&logits, top_k).into_iter().map(one).collect())
    }

    fn width(&self) -> usize {
        match &self.kind {
            HeadKind::Linear(linear) => linear.width(),
            HeadKind::Neighbours(neighbours) => neighbours.width(),
        }
    }

    fn check_sizes(&self) -> Result<()> {
        let classes = match &self.kind {
            HeadKind::Linear(linear) => linear.classes(),
            HeadKind::Neighbours(neighbours) => neighbours.count(),
        };
        if classes != self.labels.len() {
            let reason = format!("{} names for {classes} classes", self.labels.len());
            return Err(Error::argument("labels", reason));
        }
        Ok(())
    }
}
