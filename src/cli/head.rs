//! `--head`: a classifier that `probe` wrote, in place of the model's own.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use vit_gpu::insight::Head;
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Error, Session};

use super::Failure;

/// Which classifier is used.
#[derive(clap::Args)]
pub struct HeadOptions {
    /// Use a head that `vit-gpu probe` made for this model, in place of the model's own
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
}

impl HeadOptions {
    /// The head, if one is given and the session's model is the one that it was made for.
    pub fn open(&self, session: &Session) -> Result<Option<Head>, Failure> {
        let Some(path) = &self.head else { return Ok(None) };
        let head = Head::open(path)?;
        head.check(session).map_err(|error| match error {
            Error::Model { reason, .. } => {
                let file = path.display().to_string();
                Error::Model { file, reason: format!("{reason}, not for {}", session.model().name()) }
            }
            other => other,
        })?;
        Ok(Some(head))
    }

    /// The option's name, and a digest of the file's content: what rows depend on.
    pub fn digest(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(path) = &self.head else { return Ok(None) };
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let digest = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(("--head".to_owned(), digest)))
    }
}

/// The features of each image that a head takes.
pub fn features(session: &Session, head: &Head, pixels: &[Pixels]) -> vit_gpu::Result<Vec<vit_gpu::Result<Vec<f32>>>> {
    let tokens = session.tokens_of_pixels(pixels, None)?;
    Ok(tokens.into_iter().map(|tokens| head.features().of_tokens(session.model(), &tokens?)).collect())
}
