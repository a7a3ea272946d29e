//! What a model looks at.

use vit_gpu::insight::{self, Heatmap};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::thrown;

/// One value for each patch, and what the model sees of the image.
#[wasm_bindgen]
pub struct Map {
    pub(crate) map: Heatmap,
    pub(crate) seen: vit_gpu::Image,
    pub(crate) class: Option<usize>,
}

#[wasm_bindgen]
impl Map {
    /// Rows of patches.
    #[wasm_bindgen(getter)]
    pub fn rows(&self) -> usize {
        self.map.rows
    }

    /// Columns of patches.
    #[wasm_bindgen(getter)]
    pub fn cols(&self) -> usize {
        self.map.cols
    }

    /// The values, row by row.
    #[wasm_bindgen(getter)]
    pub fn values(&self) -> Vec<f32> {
        self.map.values.clone()
    }

    /// The class that the values speak for, with relevance.
    #[wasm_bindgen(getter)]
    pub fn class(&self) -> Option<usize> {
        self.class
    }

    /// Width of the pictures, in pixels.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.seen.width()
    }

    /// Height of the pictures, in pixels.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.seen.height()
    }

    /// What the model sees of the image, as RGBA bytes.
    pub fn seen(&self) -> Vec<u8> {
        rgba(&self.seen)
    }

    /// The same with the map over it.
    ///
    /// # Errors
    /// None for a map that was computed.
    pub fn over(&self) -> Result<Vec<u8>, JsValue> {
        self.map.over(&self.seen).map(|over| rgba(&over)).map_err(thrown)
    }
}

fn rgba(image: &vit_gpu::Image) -> Vec<u8> {
    image.data().as_chunks().0.iter().flat_map(|&[r, g, b]: &[u8; 3]| [r, g, b, 255]).collect()
}

/// A map of what a session looks at in an image.
pub async fn computed(
    session: &vit_gpu::Session,
    image: &vit_gpu::Image,
    method: &str,
    number: Option<usize>,
    side: usize,
) -> vit_gpu::Result<Map> {
    let (map, class) = match method {
        "attention" => {
            let layer = number.unwrap_or(session.attention_layers().saturating_sub(1));
            let maps = insight::class_attention_async(session, image, layer..layer.saturating_add(1)).await?;
            (maps.first().map(insight::HeadMaps::mean), None)
        }
        "relevance" => {
            let relevance = insight::relevance_async(session, image, number).await?;
            (Some(relevance.map), Some(relevance.class))
        }
        _ => (Some(insight::rollout_async(session, image, insight::Rollout::default()).await?), None),
    };
    let map = map.unwrap_or(Heatmap { rows: 0, cols: 0, values: Vec::new() });
    let seen = insight::seen(session.model(), image, side)?;
    Ok(Map { map, seen, class })
}
