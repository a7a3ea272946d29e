//! Images.

use vit_gpu::Orient;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::errors::thrown;

/// An image as RGB bytes.
#[wasm_bindgen]
pub struct Image(pub(crate) vit_gpu::Image);

#[wasm_bindgen]
impl Image {
    /// Decodes a file's bytes, turned as its EXIF orientation says or left as stored; `name` is what errors call it.
    ///
    /// # Errors
    /// An `ImageError`.
    pub fn decode(bytes: &[u8], name: &str, exif: bool) -> Result<Image, JsValue> {
        let orient = if exif { Orient::Exif } else { Orient::AsStored };
        vit_gpu::Image::decode(bytes, name, orient).map(Image).map_err(thrown)
    }

    /// Takes a canvas's pixels.
    ///
    /// # Errors
    /// An `ImageError` if they are not `4·width·height` bytes.
    #[wasm_bindgen(js_name = fromRgba)]
    pub fn from_rgba(width: usize, height: usize, rgba: &[u8]) -> Result<Image, JsValue> {
        vit_gpu::Image::from_rgba(width, height, rgba).map(Image).map_err(thrown)
    }

    /// Width in pixels.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// Height in pixels.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.0.height()
    }
}
