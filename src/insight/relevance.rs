//! Which patches speak for a class, without gradients: ViT-ReciproCAM (Byun and Lee 2023, arXiv:2310.02588).

use super::heatmap::Heatmap;
use crate::error::{Error, Result};
use crate::preprocess::Image;
use crate::session::{Session, unblock, wait};

/// How much each patch speaks for a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Relevance {
    /// The class.
    pub class: usize,
    /// For each patch, the class's logit if the last block sees that patch and a little of its neighbours alone. Only differences
    /// within a map mean something.
    pub map: Heatmap,
}

/// A patch and its neighbours: rows and columns of a Gaussian filter.
const WEIGHTS: [[f32; 3]; 3] =
    [[1.0 / 16.0, 1.0 / 8.0, 1.0 / 16.0], [1.0 / 8.0, 1.0 / 4.0, 1.0 / 8.0], [1.0 / 16.0, 1.0 / 8.0, 1.0 / 16.0]];

/// Bytes of masked tokens that are made at a time.
const BYTES: usize = 64 << 20;

/// How much each patch speaks for `class`, or for the class with the highest score. Of what the attention of the last block is
/// given (its first norm's result), all patches but one and its neighbours are set to 0, once for each patch; the class token and
/// its like stay. The rest of the model then gives a logit for each.
///
/// # Errors
/// [`Error::NoHead`] for a model without a head; [`Error::Argument`] for a class that it does not have, and for models whose
/// blocks are not pre-norm; as [`Session::attentions`].
pub fn relevance(session: &Session, image: &Image, class: Option<usize>) -> Result<Relevance> {
    wait(computed(session, image, class))
}

/// As [`relevance`], without blocking.
///
/// # Errors
/// As [`relevance`].
pub async fn relevance_async(session: &Session, image: &Image, class: Option<usize>) -> Result<Relevance> {
    let (session, image) = (session.clone(), image.clone());
    unblock(async move || computed(&session, &image, class).await).await
}

async fn computed(session: &Session, image: &Image, class: Option<usize>) -> Result<Relevance> {
    let config = &session.checkpoint().config;
    let outputs = session.engine().last_normed(&session.preprocess(image)?).await?;
    let output = |name: &str| outputs.get(name).ok_or_else(|| Error::shape(name, "needs a model with pre-norm blocks"));
    let (logits, normed) = (&output("logits")?.values, &output("last_normed")?.values);
    let best = || (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0);
    let class = class.unwrap_or_else(best);
    if class >= logits.len() {
        return Err(Error::argument("class", format!("{class}: the model has {} classes", logits.len())));
    }
    let (rows, cols) = config.grid();
    let patches: Vec<usize> = (0..rows * cols).collect();
    let mut values = Vec::with_capacity(patches.len());
    for group in patches.chunks((BYTES / (4 * normed.len()).max(1)).max(1)) {
        let masked: Vec<f32> = group
            .iter()
            .flat_map(|patch| masked(normed, config.embed_dim, config.prefix_tokens(), (rows, cols), *patch))
            .collect();
        let all = session.engine().logits_of_normed(&masked).await?;
        values.extend(all.chunks_exact(logits.len()).map(|logits| logits[class]));
    }
    Ok(Relevance { class, map: Heatmap { rows, cols, values } })
}

/// Tokens `[T, width]` of which the patches are multiplied by the filter around one of them.
fn masked(tokens: &[f32], width: usize, prefix: usize, (rows, cols): (usize, usize), patch: usize) -> Vec<f32> {
    let mut out = vec![0.0; tokens.len()];
    out[..prefix * width].copy_from_slice(&tokens[..prefix * width]);
    let (row, col) = (patch / cols, patch % cols);
    for (dy, weights) in WEIGHTS.iter().enumerate() {
        for (dx, weight) in weights.iter().enumerate() {
            // One row and column further, so that nothing is below 0.
            let (y, x) = (row + dy, col + dx);
            if (1..=rows).contains(&y) && (1..=cols).contains(&x) {
                let at = (prefix + (y - 1) * cols + x - 1) * width;
                out[at..at + width].iter_mut().zip(&tokens[at..]).for_each(|(out, value)| *out = weight * value);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_class_token_and_a_patch_with_its_neighbours() {
        let tokens: Vec<f32> = vec![16.0; 1 + 12];
        let corner = masked(&tokens, 1, 1, (3, 4), 3);
        assert_eq!(corner, [16.0, 0.0, 0.0, 2.0, 4.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
        let middle = masked(&tokens, 1, 1, (3, 4), 5);
        assert_eq!(middle, [16.0, 1.0, 2.0, 1.0, 0.0, 2.0, 4.0, 2.0, 0.0, 1.0, 2.0, 1.0, 0.0]);
    }
}
