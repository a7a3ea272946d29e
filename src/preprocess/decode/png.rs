//! PNG. Checksums are not looked at, as Pillow looks at few.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, InterlaceInfo, Limits, Transformations};

use super::bytes::{be32, bits, palette};
use super::decoded::{Decoded, MAX_PIXELS, Refusal, check_size};
use super::tags;

/// Whether bytes begin as a PNG does.
pub fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
}

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    Some((be32(bytes, 16)? as u64, be32(bytes, 20)? as u64))
}

/// Decodes a file's first picture. 16-bit colours keep their high byte; 16-bit grey is cut off at 255, as Pillow does it.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the PNG is truncated")?;
    check_size(width, height)?;
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: 8 * MAX_PIXELS as usize });
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(Refusal::by)?;
    let (width, height) = (width as usize, height as usize);
    let (kind, depth) = reader.output_color_type();
    let bits_a_pixel = kind.samples() * depth as usize;
    let stride = (width * bits_a_pixel).div_ceil(8);
    let mut samples = vec![0; stride * height];
    let mut rows = samples.chunks_exact_mut(stride);
    let mut interlaced = Vec::new();
    loop {
        let row = match reader.next_interlaced_row() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(_) if torn => break,
            Err(error) => return Err(Refusal::by(error)),
        };
        if let InterlaceInfo::Adam7(place) = row.interlace() {
            interlaced.resize(stride * height, 0);
            png::expand_interlaced_row(&mut interlaced, stride, row.data(), place, bits_a_pixel as u8);
        } else if let Some(place) = rows.next() {
            place.copy_from_slice(&row.data()[..stride]);
        }
    }
    if !interlaced.is_empty() {
        samples = interlaced;
    }
    // Chunks behind the picture; whatever is wrong with them matters to nobody.
    let _ = reader.finish();
    let info = reader.info();
    let colours = palette(info.palette.as_deref().unwrap_or_default(), 0, |rgb: &[u8; 3]| *rgb);
    let rows = samples.chunks_exact(stride);
    let rgb = match (kind, depth) {
        (ColorType::Indexed, _) => {
            rows.flat_map(|row| (0..width).flat_map(|x| colours[usize::from(bits(row, depth as usize, x))])).collect()
        }
        (ColorType::Rgb, BitDepth::Eight) => samples,
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            let cut = |[high, low]: &[u8; 2]| [if *high == 0 { *low } else { 255 }; 3];
            samples.as_chunks().0.iter().flat_map(cut).collect()
        }
        (ColorType::Grayscale, depth) => {
            let depth = depth as usize;
            let scale = 255 / (0xff >> (8 - depth)) as u8;
            rows.flat_map(|row| (0..width).flat_map(move |x| [bits(row, depth, x) * scale; 3])).collect()
        }
        (_, depth) => {
            let sample = depth as usize / 8;
            let grey = kind == ColorType::GrayscaleAlpha;
            let pixels = samples.chunks_exact(bits_a_pixel / 8);
            pixels.flat_map(|pixel| [0, 1, 2].map(|i| pixel[if grey { 0 } else { i * sample }])).collect()
        }
    };
    let orientation = tags::orientation(&exif(info), &xmp(info));
    Ok(Decoded { width, height, rgb, orientation })
}

/// EXIF data: a chunk, or a text of hexadecimal digits behind three lines, as ImageMagick writes it.
fn exif(info: &png::Info) -> Vec<u8> {
    if let Some(exif) = &info.exif_metadata {
        return exif.to_vec();
    }
    const KEY: &str = "Raw profile type exif";
    let plain = info.uncompressed_latin1_text.iter().filter(|text| text.keyword == KEY).map(|text| text.text.clone());
    let packed = info.compressed_latin1_text.iter().filter(|text| text.keyword == KEY);
    let Some(text) = plain.chain(packed.filter_map(|text| text.get_text().ok())).next_back() else { return Vec::new() };
    let digits: Vec<u8> = text
        .split('\n')
        .skip(3)
        .flat_map(|line| line.bytes().filter_map(|byte| char::from(byte).to_digit(16)))
        .map(|digit| digit as u8)
        .collect();
    digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// XMP data.
fn xmp(info: &png::Info) -> Vec<u8> {
    const KEY: &str = "XML:com.adobe.xmp";
    let texts = info.utf8_text.iter().filter(|text| text.keyword == KEY);
    texts.filter_map(|text| text.get_text().ok()).next_back().unwrap_or_default().into_bytes()
}
