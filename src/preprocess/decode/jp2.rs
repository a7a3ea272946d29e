//! JPEG 2000, as a file (JP2) or a bare codestream.

use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};

use super::bytes::{be16, be32};
use super::colours::from_inks;
use super::decoded::{Decoded, Refusal, check_size};

/// Whether bytes begin as such a file does.
pub fn is_jp2(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0\0\0\x0cjP  \r\n\x87\n") || bytes.starts_with(b"\xff\x4f\xff\x51")
}

/// Width and height as the codestream's header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let start = bytes.windows(4).position(|window| window == b"\xff\x4f\xff\x51")?;
    let side = |at: usize| be32(bytes, start + at)?.checked_sub(be32(bytes, start + at + 8)?);
    Some((side(8)? as u64, side(12)? as u64))
}

/// Whether a component has fewer samples than the picture has pixels.
fn subsampled(bytes: &[u8]) -> Option<bool> {
    let start = bytes.windows(4).position(|window| window == b"\xff\x4f\xff\x51")?;
    let components = bytes.get(start + 42..start + 42 + 3 * be16(bytes, start + 40)?)?;
    Some(components.chunks_exact(3).any(|component| component[1..] != [1, 1]))
}

/// Decodes a file. Grey of more than 8 bits is cut off at 255, as Pillow does it.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the JPEG 2000 file has no picture")?;
    check_size(width, height)?;
    // Every pixel that is stated takes its time, also where nothing is stored for it.
    if width * height > 1024 * (bytes.len() as u64).max(1 << 14) {
        return Err(format!("it states {width}x{height} pixels, far more than its data can be").into());
    }
    if subsampled(bytes).unwrap_or(true) {
        return Err("it is a JPEG 2000 file with components of different sizes, which can't be decoded".into());
    }
    let failed = |error| Refusal::from(format!("the JPEG 2000 file can't be decoded: {error}"));
    let settings = DecodeSettings { strict: !torn, ..DecodeSettings::default() };
    let image = Image::new(bytes, &settings).map_err(failed)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    check_size(width as u64, height as u64)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(failed)?;
    let components = decoded.components();
    // A bare codestream of four components is RGB and alpha.
    let stated = bytes.windows(11).any(|window| window.starts_with(b"colr\x01") && window[7..] == [0, 0, 0, 12]);
    let inks = stated && matches!(image.color_space(), ColorSpace::CMYK);
    let channels = if components.len() < 3 { [0; 3] } else { [0, 1, 2] };
    if components.iter().any(|component| component.samples().len() != width * height) || components.is_empty() {
        return Err("the JPEG 2000 file has components of other sizes than its picture".into());
    }
    let sample = |channel: usize, i: usize| {
        let depth = components[channel].bit_depth();
        let value = components[channel].samples()[i].round().clamp(0.0, ((1_u64 << depth) - 1) as f32) as u32;
        match depth {
            0..=8 => (value << (8 - depth)) as u8,
            _ if components.len() == 1 => (u64::from(value) << 16_u8.saturating_sub(depth)).min(255) as u8,
            _ => (value >> (depth - 8)) as u8,
        }
    };
    let pixel = |i: usize| {
        let colours = channels.map(|channel| sample(channel, i));
        if inks { from_inks(colours, sample(3, i)) } else { colours }
    };
    let rgb = (0..width * height).flat_map(pixel).collect();
    Ok(Decoded { width, height, rgb, orientation: None })
}
