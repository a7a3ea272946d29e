//! WebP, through the `image` crate. Of an animation, the first frame; alpha is dropped.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder};

use super::decoded::{Decoded, MAX_PIXELS, Refusal, check_size};
use super::tags::{self, Tags};

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let (width, height) = WebPDecoder::new(Cursor::new(bytes)).ok()?.dimensions();
    Some((width.into(), height.into()))
}

/// Decodes a file.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Refusal> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(Refusal::by)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS);
    decoder.set_limits(limits).map_err(Refusal::by)?;
    let orientation = orientation(&mut decoder);
    let decoded = DynamicImage::from_decoder(decoder).map_err(Refusal::by)?;
    let rgb = match decoded {
        // Alpha is dropped as it is, which keeps the colours that it hides.
        DynamicImage::ImageRgba8(image) => image.into_raw().chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        decoded => decoded.into_rgb8().into_raw(),
    };
    Ok(Decoded { width: width as usize, height: height as usize, rgb, orientation })
}

/// The orientation that EXIF data states, else XMP data, as Pillow reads them.
fn orientation(decoder: &mut impl ImageDecoder) -> Option<u8> {
    let from_exif = |exif: Vec<u8>| u8::try_from(Tags::read(&exif)?.get(tags::ORIENTATION)?).ok();
    let exif = decoder.exif_metadata().ok().flatten().and_then(from_exif);
    exif.or_else(|| tags::xmp_orientation(&decoder.xmp_metadata().ok().flatten()?))
}
