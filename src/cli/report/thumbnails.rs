//! Small pictures within a page.

use vit_gpu::internals::preprocess::{Filter, Resizer, resize};
use vit_gpu::{Error, Result};

use super::super::inputs::{Input, Reading};

/// An image as the address of a small picture that holds its own bytes (`data:image/png;base64,…`), with width and height. The longer
/// of them has at most `most` pixels.
pub fn thumbnail(input: &Input, reading: &Reading, most: usize) -> Result<(String, usize, usize)> {
    let image = reading.decode(&input.bytes()?, &input.name())?;
    let (width, height) = (image.width(), image.height());
    let longer = width.max(height).max(most);
    let side = |pixels: usize| (pixels * most / longer).max(1);
    let small = resize(&image, side(width), side(height), Filter::Bicubic, Resizer::Pillow)?;
    let failed = |error: png::EncodingError| Error::Image {
        image: input.name(),
        reason: error.to_string(),
        source: Some(error.into()),
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, small.width() as u32, small.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(small.data()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok((format!("data:image/png;base64,{}", base64(&bytes)), small.width(), small.height()))
}

/// Bytes as text, as RFC 4648 says.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let there = digit <= three.len();
            text.push(if there { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (text, want) in pairs {
            assert_eq!(base64(text.as_bytes()), want);
        }
        assert_eq!(base64(&[255, 254, 253]), "//79");
    }
}
