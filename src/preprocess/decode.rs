//! Decodes PNG, JPEG, WebP, GIF, BMP and TIFF into 8-bit RGB, converted as Pillow's `convert("RGB")` converts.
//!
//! Alpha is dropped (the hidden colour stays), grey is replicated, palettes are expanded, CMYK is read as Adobe writes it,
//! animations give their first frame. 16-bit samples keep their high byte; Pillow does the same for colour, but saturates
//! 16-bit grey to white, which is not reproduced.

use std::io::Cursor;
use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::image::{Image, Orient};
use crate::error::{Error, Result};

/// The most pixels an image may have: twice Pillow's `MAX_IMAGE_PIXELS`, above which Pillow refuses it as a decompression bomb.
const MAX_PIXELS: u64 = 2 * 89_478_485;

impl Image {
    /// Reads and decodes a file, EXIF orientation applied. Needs the feature `decode`.
    ///
    /// # Errors
    /// [`Error::Image`] names the file and what is wrong with it.
    pub fn open(path: impl AsRef<Path>) -> Result<Image> {
        Image::open_with(path, Orient::Exif)
    }

    /// Reads and decodes a file. Needs the feature `decode`.
    ///
    /// # Errors
    /// [`Error::Image`] names the file and what is wrong with it.
    pub fn open_with(path: impl AsRef<Path>, orient: Orient) -> Result<Image> {
        let name = path.as_ref().display().to_string();
        let bytes = std::fs::read(path).map_err(|error| Error::image_by(&name, error))?;
        Image::decode(&bytes, &name, orient)
    }

    /// Decodes a file's bytes; `name` is what errors call it. Needs the feature `decode`.
    ///
    /// # Errors
    /// [`Error::Image`] for an unknown format, a truncated or corrupt file, or more than 178,956,970 pixels.
    pub fn decode(bytes: &[u8], name: &str, orient: Orient) -> Result<Image> {
        let fail = |reason: String| Error::image(name, reason);
        if bytes.is_empty() {
            return Err(fail("the file is empty".into()));
        }
        let format = ::image::guess_format(bytes)
            .ok()
            .filter(|format| format.reading_enabled())
            .ok_or_else(|| fail("not an image in a supported format (PNG, JPEG, WebP, GIF, BMP or TIFF)".into()))?;
        // The JPEG decoder fills what is missing with grey; Pillow refuses, and so do we.
        if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
            return Err(fail("the JPEG is truncated: it has no end-of-image marker".into()));
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_alloc = Some(8 * MAX_PIXELS);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|error| Error::image_by(name, error))?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(fail(format!(
                "{width}x{height} pixels are more than {MAX_PIXELS}: refused as a decompression bomb"
            )));
        }
        let orientation = match orient {
            Orient::Exif => decoder.orientation().unwrap_or(::image::metadata::Orientation::NoTransforms),
            Orient::AsStored => ::image::metadata::Orientation::NoTransforms,
        };
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| Error::image_by(name, error))?;
        decoded.apply_orientation(orientation);
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        Image::from_rgb(width, height, rgb(decoded)).map_err(|_| fail("it has no pixels".into()))
    }
}

/// RGB bytes of any decoded image.
fn rgb(image: DynamicImage) -> Vec<u8> {
    let high = |samples: Vec<u16>| -> Vec<u8> { samples.into_iter().map(|sample| (sample >> 8) as u8).collect() };
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => pick(&image.into_raw(), 1, [0, 0, 0]),
        DynamicImage::ImageLumaA8(image) => pick(&image.into_raw(), 2, [0, 0, 0]),
        DynamicImage::ImageRgba8(image) => pick(&image.into_raw(), 4, [0, 1, 2]),
        DynamicImage::ImageLuma16(image) => pick(&high(image.into_raw()), 1, [0, 0, 0]),
        DynamicImage::ImageLumaA16(image) => pick(&high(image.into_raw()), 2, [0, 0, 0]),
        DynamicImage::ImageRgb16(image) => high(image.into_raw()),
        DynamicImage::ImageRgba16(image) => pick(&high(image.into_raw()), 4, [0, 1, 2]),
        // Float TIFFs, values in 0..1.
        other => other.into_rgb8().into_raw(),
    }
}

/// Takes three of every pixel's `channels` samples, those at the indices `which`.
fn pick(samples: &[u8], channels: usize, which: [usize; 3]) -> Vec<u8> {
    samples.chunks_exact(channels).flat_map(|pixel| which.map(|channel| pixel[channel])).collect()
}

/// Whether an end-of-image marker follows the last start-of-scan marker.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    match (last([0xff, 0xda]), last([0xff, 0xd9])) {
        (Some(scan), Some(end)) => end > scan,
        // There is no image data at all: the decoder reports what is wrong.
        (None, _) => true,
        (Some(_), None) => false,
    }
}
