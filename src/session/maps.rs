//! What happens within blocks, for one image: the attention of layers, and the last block on parts of its input.

use std::ops::Range;

use super::engine::Engine;
use super::output::{Output, Outputs};
use crate::error::{Error, Result};
#[cfg(feature = "insight")]
use crate::model::Head;
use crate::model::{Input, Maps, Pooling, Request};
use crate::ops::Data;
use crate::preprocess::Pixels;

/// Bytes that the maps of one run may take on the device; more layers are computed by several runs.
const MAP_BYTES: usize = 256 << 20;

impl Engine {
    /// How many layers have attention: the blocks, and the pooling where it is one.
    pub fn attention_layers(&self) -> usize {
        let config = &self.checkpoint().config;
        config.depth + usize::from(matches!(config.pool, Pooling::Attention(_)))
    }

    /// How many layers' maps one run gives. Whoever takes more of them one by one runs the model more often than it must.
    pub fn layers_at_a_time(&self) -> usize {
        let config = &self.checkpoint().config;
        let layer_bytes = self.precision.bytes() as usize * config.num_heads * config.tokens().pow(2);
        (MAP_BYTES / layer_bytes.max(1)).max(1)
    }

    /// `attentions.i` `[1, H, queries, keys]` of every layer in `layers`.
    pub async fn attentions(&self, pixels: &Pixels, layers: Range<usize>) -> Result<Outputs> {
        let count = self.attention_layers();
        if layers.is_empty() || layers.end > count {
            let reason = format!("layers {} to {}: the model has {count}", layers.start, layers.end);
            return Err(Error::argument("layers", reason));
        }
        let step = self.layers_at_a_time();
        let mut maps: Vec<Output> = Vec::with_capacity(layers.len());
        for first in layers.clone().step_by(step) {
            let group = Maps::Attention { first, end: layers.end.min(first + step) };
            for part in self.of_one(pixels, group).await?.0 {
                let Some((name, _)) = part.name.rsplit_once('.').filter(|_| part.name.starts_with("attentions."))
                else {
                    continue;
                };
                match maps.last_mut().filter(|map| map.name == name) {
                    Some(map) => {
                        map.shape[1] += part.shape[1];
                        map.values.extend(part.values);
                    }
                    None => maps.push(Output { name: name.to_owned(), ..part }),
                }
            }
        }
        Ok(Outputs(maps))
    }

    /// `logits` `[1, K]`, and `last_normed` `[1, T, D]`, which [`Engine::logits_of_normed`] takes.
    #[cfg(feature = "insight")]
    pub async fn last_normed(&self, pixels: &Pixels) -> Result<Outputs> {
        if self.checkpoint().config.head == Head::None {
            return Err(Error::NoHead { model: self.checkpoint().name.clone() });
        }
        self.of_one(pixels, Maps::LastNormed).await
    }

    /// The logits `[B, K]` that the last block and the head make of `[B, T, D]`.
    #[cfg(feature = "insight")]
    pub async fn logits_of_normed(&self, normed: &[f32]) -> Result<Vec<f32>> {
        let config = &self.checkpoint().config;
        let image = config.tokens() * config.embed_dim;
        let outputs = self.batches(self.request(Input::LastNormed), normed.len() / image, |range| {
            vec![("last_normed", Data::F32(&normed[range.start * image..range.end * image]))]
        });
        let outputs = outputs.await?.finite()?.0;
        let logits = outputs.into_iter().find(|output| output.name == "logits").map(|output| output.values);
        logits.ok_or_else(|| Error::shape("logits", "the model has no such output"))
    }

    async fn of_one(&self, pixels: &Pixels, maps: Maps) -> Result<Outputs> {
        let request = Request { maps, ..self.request(Input::Bytes) };
        let inputs = |_| vec![("pixels", Data::U8(&pixels.data)), ("normalize", Data::F32(&self.table))];
        self.batches(request, 1, inputs).await?.finite()
    }
}
