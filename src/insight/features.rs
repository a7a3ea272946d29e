//! Vectors of images that a frozen model gives, for a classifier to be trained on.

use crate::error::{Error, Result};
use crate::preprocess::Image;
use crate::session::{Model, Session};

/// What of a model's last hidden state a classifier is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// The class token, D values.
    Class,
    /// The mean of the patches' tokens, D values.
    Mean,
    /// Both, one behind the other, 2·D values.
    Both,
}

impl Features {
    /// All that a model has: both, or the mean where there is no class token.
    #[must_use]
    pub fn all(model: &Model) -> Features {
        if model.0.config.class_token { Features::Both } else { Features::Mean }
    }

    /// Its name in files and on the command line: `cls`, `mean` or `both`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Features::Class => "cls",
            Features::Mean => "mean",
            Features::Both => "both",
        }
    }

    /// The features with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Features> {
        [Features::Class, Features::Mean, Features::Both].into_iter().find(|features| features.name() == name)
    }

    /// How many values an image has.
    #[must_use]
    pub fn dim(self, model: &Model) -> usize {
        model.token_shape().1 * if self == Features::Both { 2 } else { 1 }
    }

    /// The features of each image. An image without a result fails alone.
    ///
    /// # Errors
    /// As [`Features::of_tokens`] and [`Session::tokens_each`].
    pub fn of(self, session: &Session, images: &[Image]) -> Result<Vec<Result<Vec<f32>>>> {
        self.check(session.model())?;
        let tokens = session.tokens_each(images, None)?;
        Ok(tokens.into_iter().map(|tokens| self.of_tokens(session.model(), &tokens?)).collect())
    }

    /// The features of tokens `[T, D]` of a model's last hidden state.
    ///
    /// # Errors
    /// [`Error::Argument`] for a class token that the model does not have; [`Error::Shape`] for tokens of another model.
    pub fn of_tokens(self, model: &Model, tokens: &[f32]) -> Result<Vec<f32>> {
        self.check(model)?;
        let (count, width) = model.token_shape();
        if tokens.len() != count * width {
            return Err(Error::shape("tokens", format!("[{count}, {width}] expected, {} values given", tokens.len())));
        }
        let patches = &tokens[model.0.config.prefix_tokens() * width..];
        let rows = (patches.len() / width).max(1) as f64;
        let mean = |i: usize| (patches.iter().skip(i).step_by(width).map(|v| f64::from(*v)).sum::<f64>() / rows) as f32;
        let class = if self == Features::Mean { &[][..] } else { &tokens[..width] };
        let means = if self == Features::Class { 0..0 } else { 0..width };
        Ok(class.iter().copied().chain(means.map(mean)).collect())
    }

    /// The same features out of all that a model has ([`Features::all`]).
    ///
    /// # Errors
    /// As [`Features::of_tokens`].
    pub fn out_of(self, model: &Model, all: &[f32]) -> Result<Vec<f32>> {
        self.check(model)?;
        let (width, wanted) = (model.token_shape().1, Features::all(model).dim(model));
        if all.len() != wanted {
            return Err(Error::shape("features", format!("{wanted} values expected, {} given", all.len())));
        }
        Ok(match self {
            Features::Class => all[..width].to_vec(),
            Features::Mean => all[all.len() - width..].to_vec(),
            Features::Both => all.to_vec(),
        })
    }

    fn check(self, model: &Model) -> Result<()> {
        if self != Features::Mean && !model.0.config.class_token {
            let reason = format!("{} has no class token, so only the mean of its patches can be taken", model.name());
            return Err(Error::argument("features", reason));
        }
        Ok(())
    }
}
