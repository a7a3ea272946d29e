//! Decodes PNG, JPEG, WebP, GIF, BMP and TIFF into 8-bit RGB, converted as Pillow's `convert("RGB")` converts.
//!
//! Alpha is dropped (the hidden colour stays), grey is replicated, palettes are expanded, CMYK is read as Adobe writes it,
//! animations give their first frame. 16-bit samples keep their high byte; Pillow does the same for colour, but saturates
//! 16-bit grey to white, which is not reproduced.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::image::{Image, Orient};
use super::tags::{self, Tags};
use super::{gif, jpeg};
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
        let is = |wanted| format == wanted;
        if let Some(reason) = is(ImageFormat::Jpeg).then(|| jpeg::refusal(bytes)).flatten() {
            return Err(fail(reason.into()));
        }
        let tags = is(ImageFormat::Tiff).then(|| Tags::read(bytes)).flatten();
        let tag = |number| tags.as_ref().and_then(|tags| tags.get(number));
        if tag(tags::FILL_ORDER) == Some(2) {
            return Err(fail(
                "it is a TIFF with its bits in reverse order (FillOrder 2), which can't be decoded".into(),
            ));
        }
        let decoded = guarded(|| decode_by(bytes, name, format, orient));
        let mut decoded = decoded.unwrap_or_else(|| {
            Err(fail("its decoder failed: the file is damaged or of a kind that it can't read".into()))
        })?;
        if tag(tags::EXTRA_SAMPLES) == Some(1) {
            divide_alpha_out(&mut decoded);
        }
        if let Some(surround) = is(ImageFormat::Gif).then(|| gif::surround(bytes)).flatten() {
            fill(&mut decoded, &surround);
        }
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        Image::from_rgb(width, height, rgb(decoded)).map_err(|_| fail("it has no pixels".into()))
    }
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a decoder, whose panics are caught: a program's panic hook need not print them.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// The result of a decoder, or `None` if it panicked: a broken file must cost no other.
fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    DECODING.set(true);
    let done = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(false);
    done.ok()
}

fn decode_by(bytes: &[u8], name: &str, format: ImageFormat, orient: Orient) -> Result<DynamicImage> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| Error::image_by(name, error))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::image(
            name,
            format!("{width}x{height} pixels are more than {MAX_PIXELS}: refused as a decompression bomb"),
        ));
    }
    let orientation = match orient {
        Orient::Exif => orientation(&mut decoder),
        Orient::AsStored => Orientation::NoTransforms,
    };
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| Error::image_by(name, error))?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

/// The orientation that EXIF data states, else XMP data, as Pillow reads them.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let exif = decoder.exif_metadata().ok().flatten();
    let from_exif =
        exif.and_then(|exif| Tags::read(&exif)?.get(tags::ORIENTATION)).and_then(|value| u8::try_from(value).ok());
    let from_xmp = || tags::xmp_orientation(&decoder.xmp_metadata().ok().flatten()?);
    match from_exif.or_else(from_xmp).and_then(Orientation::from_exif) {
        Some(orientation) => orientation,
        // TIFF files state theirs as a tag of the image.
        None => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    }
}

/// Gives what lies around a GIF's first frame its colour.
fn fill(image: &mut DynamicImage, gif::Surround { frame: [left, top, width, height], colour }: &gif::Surround) {
    let DynamicImage::ImageRgba8(image) = image else { return };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let inside = (*left..left + width).contains(&(x as usize)) && (*top..top + height).contains(&(y as usize));
        if !inside {
            pixel.0[..3].copy_from_slice(colour);
        }
    }
}

/// Colours that were multiplied by their alpha, divided by it again, as Pillow does.
fn divide_alpha_out(image: &mut DynamicImage) {
    let DynamicImage::ImageRgba8(image) = image else { return };
    for pixel in image.pixels_mut() {
        let [colours @ .., alpha] = &mut pixel.0;
        if !matches!(*alpha, 0 | 255) {
            colours.iter_mut().for_each(|c| *c = (u32::from(*c) * 255 / u32::from(*alpha)).min(255) as u8);
        }
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
