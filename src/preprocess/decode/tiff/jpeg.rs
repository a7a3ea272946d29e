//! JPEG within TIFF: every strip or tile is a JPEG of its own, whose tables may be in a tag.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::preprocess::decode::decoded::Refusal;

/// What a JPEG must be.
pub struct Wanted {
    /// Its width.
    pub width: usize,
    /// How many of its rows are used.
    pub rows: usize,
    /// Samples of each pixel.
    pub samples: usize,
    /// Whether samples after the first may be fewer than the first.
    pub subsampled: bool,
    /// Whether it may have more rows than are used, as in some files' last strips.
    pub may_be_taller: bool,
}

/// What a JPEG's header says.
struct Frame {
    width: usize,
    height: usize,
    precision: u8,
    /// Of each component, how often it has samples, across (upper half) and down.
    factors: Vec<u8>,
}

/// The samples of a JPEG as they are: colours are not converted.
pub fn decode(tables: Option<&[u8]>, data: &[u8], wanted: &Wanted) -> Result<Vec<u8>, Refusal> {
    let whole;
    let data = match tables {
        Some(tables) => {
            // The tables are a JPEG without a picture: between its marks of start and end.
            let tables = tables.strip_prefix(&[0xff, 0xd8]).unwrap_or(tables);
            let tables = tables.strip_suffix(&[0xff, 0xd9]).unwrap_or(tables);
            whole = [&[0xff, 0xd8], tables, data.strip_prefix(&[0xff, 0xd8]).unwrap_or(data)].concat();
            &whole[..]
        }
        None => data,
    };
    let damaged = || Refusal::from("the JPEG data of the TIFF is damaged");
    let frame = frame(data).ok_or_else(damaged)?;
    let Wanted { width, rows, samples, .. } = *wanted;
    if frame.width != width || frame.height < rows || (frame.height > rows && !wanted.may_be_taller) {
        return Err("it is a TIFF with JPEG data of another size than its picture, strips or tiles".into());
    }
    if frame.height > rows.saturating_mul(4).max(rows + 64) || frame.factors.len() != samples {
        return Err(damaged());
    }
    if frame.precision != 8 {
        let bits = frame.precision;
        return Err(format!("it is a TIFF with JPEG data of {bits} bits a sample, which can't be decoded").into());
    }
    let mut must_be_whole = frame.factors.iter().skip(usize::from(wanted.subsampled));
    if samples > 1 && must_be_whole.any(|factor| *factor != 0x11) {
        return Err("it is a TIFF with JPEG data whose colours are subsampled in a way that can't be decoded".into());
    }
    let options = DecoderOptions::default().set_max_width(width).set_max_height(frame.height).jpeg_set_max_scans(100);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options.set_strict_mode(false));
    decoder.decode_headers().map_err(Refusal::by)?;
    // The components as they are, whatever colours the JPEG claims.
    let claimed = decoder.input_colorspace().ok_or_else(damaged)?;
    let colours = if samples == 1 { ColorSpace::Luma } else { claimed };
    let options = decoder.options().jpeg_set_out_colorspace(colours);
    decoder.set_options(options);
    let mut pixels = decoder.decode().map_err(Refusal::by)?;
    let wanted_bytes = width * rows * samples;
    if pixels.len() < wanted_bytes {
        return Err(damaged());
    }
    pixels.truncate(wanted_bytes);
    Ok(pixels)
}

/// The segments of a JPEG up to its first scan: marker, the bytes from the marker on, and where they end.
pub fn segments(data: &[u8]) -> impl Iterator<Item = (u8, &[u8], usize)> {
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            let rest = data.get(at..)?;
            let start = at + rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
            let marker = data[start + 1];
            at = start + 2;
            if matches!(marker, 0x01 | 0xd0..=0xd8) {
                continue;
            }
            let length = usize::from(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
            at += length;
            return data.get(start..at).filter(|segment| segment.len() >= 4).map(|segment| (marker, segment, at));
        }
    })
}

/// Reads the header.
fn frame(data: &[u8]) -> Option<Frame> {
    segments(data).find_map(|(marker, segment, _)| match (marker, segment) {
        (0xc0..=0xc2, &[_, _, _, _, precision, h1, h0, w1, w0, _, ref components @ ..]) => {
            let factors = components.chunks_exact(3).map(|component| component[1]).collect();
            let size = |high, low| usize::from(u16::from_be_bytes([high, low]));
            Some(Frame { width: size(w1, w0), height: size(h1, h0), precision, factors })
        }
        _ => None,
    })
}
