//! Formats that the `image` crate decodes as Pillow does, but for some details that are corrected here.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::decoded::{Decoded, MAX_PIXELS, Refusal, check_size};
use super::tags::{self, Tags};

/// Width and height as the header states them.
pub fn size(bytes: &[u8], format: ImageFormat) -> Option<(u64, u64)> {
    let (width, height) = ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().ok()?;
    Some((width.into(), height.into()))
}

/// Decodes a file of this format.
pub fn decode(bytes: &[u8], format: ImageFormat) -> Result<Decoded, Refusal> {
    let is = |wanted| format == wanted;
    let tags = is(ImageFormat::Tiff).then(|| Tags::read(bytes)).flatten();
    let tag = |number| tags.as_ref().and_then(|tags| tags.get(number));
    if tag(tags::FILL_ORDER) == Some(2) {
        return Err("it is a TIFF with its bits in reverse order (FillOrder 2), which can't be decoded".into());
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(Refusal::by)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    let orientation = Some(orientation(&mut decoder).to_exif());
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(Refusal::by)?;
    if tag(tags::EXTRA_SAMPLES) == Some(1) {
        divide_alpha_out(&mut decoded);
    }
    Ok(Decoded { width: decoded.width() as usize, height: decoded.height() as usize, rgb: rgb(decoded), orientation })
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
