//! Images as RGB bytes.

use std::sync::Arc;

use crate::error::{Error, Result};

/// Whether an image's EXIF orientation is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orient {
    /// Turned and mirrored as the camera says (Hugging Face pipelines).
    #[default]
    Exif,
    /// As stored (timm, torchvision).
    AsStored,
}

/// An 8-bit RGB image, rows from the top, three bytes a pixel. Clones share the pixels.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    data: Arc<Vec<u8>>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("width", &self.width).field("height", &self.height).finish_non_exhaustive()
    }
}

impl Image {
    /// Makes an image of RGB bytes: rows from the top, three bytes a pixel.
    ///
    /// # Errors
    /// [`Error::Image`] if either side is 0 or `data` is not `3·width·height` bytes.
    pub fn from_rgb(width: usize, height: usize, data: Vec<u8>) -> Result<Image> {
        let wanted = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        if width == 0 || height == 0 || wanted != Some(data.len()) {
            let reason = format!("{width}x{height} RGB pixels can't be {} bytes", data.len());
            return Err(Error::image("image", reason));
        }
        Ok(Image { width, height, data: Arc::new(data) })
    }

    /// Makes an image of RGBA bytes: rows from the top, four bytes a pixel, as a browser's canvas gives them. The fourth, alpha,
    /// is dropped, as when files are decoded.
    ///
    /// # Errors
    /// [`Error::Image`] if either side is 0 or `data` is not `4·width·height` bytes.
    pub fn from_rgba(width: usize, height: usize, data: &[u8]) -> Result<Image> {
        let (pixels, rest) = data.as_chunks::<4>();
        if !rest.is_empty() || width.checked_mul(height) != Some(pixels.len()) {
            let reason = format!("{width}x{height} RGBA pixels can't be {} bytes", data.len());
            return Err(Error::image("image", reason));
        }
        Image::from_rgb(width, height, pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect())
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, row by row.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}
