//! What is looked for: words and photos, added to and taken from each other.

use std::ffi::OsStr;
use std::path::Path;

use vit_gpu::internals::normalize;
use vit_gpu::{Embedder, Session, TextEmbedder};

use super::super::Failure;
use super::super::folders::is_image;
use super::super::inputs::{Input, Reading};

/// A part of a query.
pub enum Part<'a> {
    Words(&'a str),
    Photo(&'a Path),
}

impl<'a> Part<'a> {
    /// A file that is there is a photo, unless everything is words (`text`).
    ///
    /// # Errors
    /// [`Failure::Usage`] for what is neither.
    pub fn of(part: &'a OsStr, text: bool) -> Result<Part<'a>, Failure> {
        let path = Path::new(part);
        if !text && path.is_file() {
            return Ok(Part::Photo(path));
        }
        if !text && is_image(path) {
            let reason = format!("{}: there is no such file; --text takes it for words", path.display());
            return Err(Failure::Usage(reason));
        }
        match part.to_str().map(str::trim) {
            Some("") => Err(Failure::Usage("there are no words to look for".to_owned())),
            Some(words) => Ok(Part::Words(words)),
            None => Err(Failure::Usage(format!("{}: not text in Unicode, and no file", path.display()))),
        }
    }

    /// Its vector, of length 1.
    fn vector(&self, session: &Session, reading: &Reading) -> Result<Vec<f32>, Failure> {
        Ok(match self {
            Part::Words(words) => TextEmbedder::new(session.clone())?.normalized(true).embed(words)?,
            Part::Photo(path) => {
                let input = Input::File((*path).into());
                let image = reading.decode(&input.bytes()?, &input.name())?;
                Embedder::new(session.clone()).normalized(true).embed(&image)?
            }
        })
    }

    pub fn name(&self) -> String {
        match self {
            Part::Words(words) => format!("“{words}”"),
            Part::Photo(path) => path.display().to_string(),
        }
    }
}

/// The vector of a query: each part's vector has length 1, and is added (`true`) or taken away.
///
/// # Errors
/// Those of reading and of the model; [`Failure::Usage`] if nothing is left.
pub fn vector(session: &Session, parts: &[(bool, Part<'_>)], reading: &Reading) -> Result<Vec<f32>, Failure> {
    let mut sum = vec![0.0f32; session.model().embedding_dim()];
    for (plus, part) in parts {
        let vector = part.vector(session, reading)?;
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += if *plus { value } else { -value });
    }
    if sum.iter().map(|value| value * value).sum::<f32>() < 1e-6 {
        return Err(Failure::Usage("what is added and what is taken away cancel each other out".to_owned()));
    }
    normalize(&mut sum);
    Ok(sum)
}
