//! Attention rollout (Abnar and Zuidema 2020): the attention of all blocks, multiplied through.

use super::attention::fused;
use super::heatmap::Heatmap;
use crate::error::{Error, Result};
use crate::preprocess::Image;
use crate::session::{Session, unblock, wait};

/// How the heads of a block become one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fusion {
    /// Their mean.
    #[default]
    Mean,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
}

/// Options of [`rollout`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rollout {
    /// How the heads of a block become one map.
    pub fusion: Fusion,
    /// The share of each fused map, of its smallest values, that is set to 0, from 0 to below 1: what is weak is often noise. The
    /// attention of a query to the class token is never set to 0.
    pub discard: f32,
}

/// How much of each patch reaches the class token through all blocks, if half of a token goes on unchanged in each block: the
/// product of `(A + I)/2` over all blocks, where `A` is the fused attention and the rows are scaled to sum to 1. Without a class
/// token, the mean over all tokens.
///
/// # Errors
/// [`Error::Argument`] for a share outside 0 to 1; as [`Session::attentions`].
pub fn rollout(session: &Session, image: &Image, options: Rollout) -> Result<Heatmap> {
    wait(computed(session, image, options))
}

/// As [`rollout`], without blocking.
///
/// # Errors
/// As [`rollout`].
pub async fn rollout_async(session: &Session, image: &Image, options: Rollout) -> Result<Heatmap> {
    let (session, image) = (session.clone(), image.clone());
    unblock(async move || computed(&session, &image, options).await).await
}

async fn computed(session: &Session, image: &Image, options: Rollout) -> Result<Heatmap> {
    if !(0.0..1.0).contains(&options.discard) {
        return Err(Error::argument("discard", format!("{}: from 0 to below 1", options.discard)));
    }
    let config = &session.checkpoint().config;
    let tokens = config.tokens();
    let pixels = session.preprocess(image)?;
    // Only one row of the product is wanted, so the blocks are gone through from the last to the first.
    let mut row = vec![0.0f64; tokens];
    match config.class_token {
        true => row[0] = 1.0,
        false => row.fill(1.0 / tokens as f64),
    }
    let step = session.engine().layers_at_a_time();
    let mut end = config.depth;
    while end > 0 {
        let first = end.saturating_sub(step);
        for map in session.engine().attentions(&pixels, first..end).await?.0.into_iter().rev() {
            let heads = map.shape[1] as f32;
            let mut map = fused(&map, |values| match options.fusion {
                Fusion::Mean => values.map(f64::from).sum::<f64>() as f32 / heads,
                Fusion::Max => values.fold(f32::NEG_INFINITY, f32::max),
                Fusion::Min => values.fold(f32::INFINITY, f32::min),
            });
            discard(&mut map, tokens, options.discard, config.class_token);
            row = through(&row, &map);
        }
        end = first;
    }
    let row: Vec<f32> = row.into_iter().map(|value| value as f32).collect();
    Heatmap::of_patches(config.grid(), &row)
}

/// Sets the smallest values to 0, but for those of the first key where that is the class token.
fn discard(map: &mut [f32], keys: usize, share: f32, class_token: bool) {
    let count = (map.len() as f64 * f64::from(share)) as usize;
    if count == 0 {
        return;
    }
    let mut sorted: Vec<usize> = (0..map.len()).collect();
    sorted.select_nth_unstable_by(count - 1, |a, b| map[*a].total_cmp(&map[*b]).then(a.cmp(b)));
    for at in &sorted[..count] {
        if !(class_token && at % keys == 0) {
            map[*at] = 0.0;
        }
    }
}

/// `row · (A + I)/2`, with the rows of the second factor scaled to sum to 1.
fn through(row: &[f64], map: &[f32]) -> Vec<f64> {
    let mut out = vec![0.0; row.len()];
    for (i, (weight, attention)) in row.iter().zip(map.chunks_exact(row.len())).enumerate() {
        let sum: f64 = attention.iter().map(|a| f64::from(*a)).sum::<f64>() + 1.0;
        out.iter_mut().zip(attention).for_each(|(out, a)| *out += weight * f64::from(*a) / sum);
        out[i] += weight / sum;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_are_discarded_but_not_those_of_the_class_token() {
        let map = [0.1f32, 0.6, 0.3, 0.2, 0.3, 0.5, 0.7, 0.1, 0.2];
        let mut with = map;
        discard(&mut with, 3, 0.5, true);
        assert_eq!(with, [0.1, 0.6, 0.3, 0.2, 0.3, 0.5, 0.7, 0.0, 0.0]);
        let mut without = map;
        discard(&mut without, 3, 0.5, false);
        assert_eq!(without, [0.0, 0.6, 0.3, 0.0, 0.3, 0.5, 0.7, 0.0, 0.0]);
        discard(&mut without, 3, 0.0, false);
        assert_eq!(without[2], 0.3);
    }

    #[test]
    fn a_product_of_rows_that_sum_to_1_sums_to_1() {
        let map = [0.2f32, 0.8, 0.5, 0.5];
        let row = through(&[1.0, 0.0], &map);
        assert!((row[0] - 0.6).abs() < 1e-7 && (row[1] - 0.4).abs() < 1e-7, "{row:?}");
    }
}
