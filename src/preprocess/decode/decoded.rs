//! What the decoder of a format gives, or why it gives nothing.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::error::Source;

/// The most pixels an image may have: twice Pillow's `MAX_IMAGE_PIXELS`, above which Pillow refuses it as a decompression bomb.
pub const MAX_PIXELS: u64 = 2 * 89_478_485;

/// A picture as it is stored, converted as Pillow's `convert("RGB")` converts.
pub struct Decoded {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Three bytes a pixel, rows from the top.
    pub rgb: Vec<u8>,
    /// How it is to be turned, as EXIF numbers it (1 to 8), if the file says so.
    pub orientation: Option<u8>,
}

impl Decoded {
    /// The same picture, turned as its orientation says.
    pub fn turned(self) -> Decoded {
        let turn = self.orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
        if turn == Orientation::NoTransforms {
            return self;
        }
        let (width, height) = (self.width as u32, self.height as u32);
        let Some(image) = RgbImage::from_raw(width, height, self.rgb) else { unreachable!("three bytes a pixel") };
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(turn);
        let (width, height) = (image.width() as usize, image.height() as usize);
        Decoded { width, height, rgb: image.into_rgb8().into_raw(), orientation: None }
    }
}

/// Why a file can't be decoded: one line that does not name the file.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong.
    pub reason: String,
    /// The decoder's own error, where there is one.
    pub source: Option<Source>,
}

impl Refusal {
    /// A decoder's own error, whose text is the reason.
    pub fn by(source: impl Into<Source>) -> Refusal {
        let source = source.into();
        Refusal { reason: source.to_string(), source: Some(source) }
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal { reason, source: None }
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Refusal { reason: reason.to_owned(), source: None }
    }
}

/// Refuses sizes that no photo has. To be called before anything of that size is allocated.
pub fn check_size(width: u64, height: u64) -> Result<(), Refusal> {
    if width == 0 || height == 0 {
        return Err("it has no pixels".into());
    }
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MAX_PIXELS => Ok(()),
        _ => Err(format!("{width}x{height} pixels are more than {MAX_PIXELS}: refused as a decompression bomb").into()),
    }
}
