//! The three-line interface: a model that names what is in a picture.

use super::{Session, SessionOptions};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::labels::Prediction;
use crate::model::Head;
use crate::preprocess::Image;

/// A model that names what is in a picture.
pub struct Classifier(Session);

impl Classifier {
    /// Opens a model (see [`Checkpoint::open`]) on the best device.
    ///
    /// # Errors
    /// As [`Session::open`]; [`Error::Usage`] for a model without a classification head.
    pub fn open(model: &str) -> Result<Classifier> {
        Classifier::from_session(Session::open(model)?)
    }

    /// The model that comes with the crate: CIFAR-10's ten classes.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn bundled() -> Result<Classifier> {
        Classifier::from_session(Session::new(Checkpoint::bundled()?, &SessionOptions::default())?)
    }

    /// Wraps a session.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model without a classification head.
    pub fn from_session(session: Session) -> Result<Classifier> {
        if session.checkpoint().config.head == Head::None {
            return Err(Error::Usage(format!("{} has no classification head", session.checkpoint().name)));
        }
        Ok(Classifier(session))
    }

    /// The five most probable classes, best first.
    ///
    /// # Errors
    /// As [`Session::classify`].
    pub fn classify(&self, image: &Image) -> Result<Vec<Prediction>> {
        let mut all = self.0.classify(std::slice::from_ref(image), 5)?;
        Ok(all.swap_remove(0))
    }

    /// The session beneath.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0
    }
}
