//! What the class token attends to.

use std::ops::Range;

use super::heatmap::Heatmap;
use crate::error::Result;
use crate::preprocess::Image;
use crate::session::{Output, Session, unblock, wait};

/// The maps of one layer's heads.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadMaps {
    /// The layer, counted from 0: a block, or, behind the last block, the attention pooling.
    pub layer: usize,
    /// A map for each head.
    pub heads: Vec<Heatmap>,
}

impl HeadMaps {
    /// The mean of all heads.
    #[must_use]
    pub fn mean(&self) -> Heatmap {
        Heatmap::mean(&self.heads).unwrap_or(Heatmap { rows: 0, cols: 0, values: Vec::new() })
    }
}

/// How much attention each patch gets from the class token, in every head of the layers in `layers`
/// ([`Session::attention_layers`] says how many there are). In models without a class token it is the mean over the
/// queries, and in attention pooling what its own query gives. The values of a map sum to 1, less what the class token and its like get.
///
/// # Errors
/// As [`Session::attentions`].
pub fn class_attention(session: &Session, image: &Image, layers: Range<usize>) -> Result<Vec<HeadMaps>> {
    wait(computed(session, image, layers))
}

/// As [`class_attention`], without blocking.
///
/// # Errors
/// As [`class_attention`].
pub async fn class_attention_async(session: &Session, image: &Image, layers: Range<usize>) -> Result<Vec<HeadMaps>> {
    let (session, image) = (session.clone(), image.clone());
    unblock(async move || computed(&session, &image, layers).await).await
}

async fn computed(session: &Session, image: &Image, layers: Range<usize>) -> Result<Vec<HeadMaps>> {
    let config = &session.checkpoint().config;
    let pixels = session.preprocess(image)?;
    let mut maps = Vec::with_capacity(layers.len());
    let step = session.engine().layers_at_a_time();
    for first in layers.clone().step_by(step) {
        // Of each map only one row is kept.
        let group = first..layers.end.min(first + step);
        for (layer, map) in (first..).zip(session.engine().attentions(&pixels, group).await?.0) {
            let keys = map.shape[3];
            let heads = map.values.chunks_exact(map.shape[2] * keys);
            let heads = heads.map(|head| Heatmap::of_patches(config.grid(), &query(head, keys, config.class_token)));
            maps.push(HeadMaps { layer, heads: heads.collect::<Result<_>>()? });
        }
    }
    Ok(maps)
}

/// The first query's row, or the mean of all rows where the first token is no class token.
pub(super) fn query(map: &[f32], keys: usize, class_token: bool) -> Vec<f32> {
    let rows = map.len() / keys;
    if class_token || rows == 1 {
        return map[..keys].to_vec();
    }
    let mean = |key| map.chunks_exact(keys).map(|row| f64::from(row[key])).sum::<f64>() / rows as f64;
    (0..keys).map(|key| mean(key) as f32).collect()
}

/// The maps of all heads as one, by key and query: each value is what `fuse` makes of the heads' values.
pub(super) fn fused(map: &Output, fuse: impl Fn(&mut dyn Iterator<Item = f32>) -> f32) -> Vec<f32> {
    let len = map.shape[2] * map.shape[3];
    (0..len).map(|i| fuse(&mut map.values.iter().skip(i).step_by(len).copied())).collect()
}
