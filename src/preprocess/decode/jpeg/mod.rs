//! JPEG, to RGB.
//!
//! The file's segments are read here, and a decoder is given what it needs of them. Decoders round the inverse transform and
//! interpolate colours differently from Pillow's (libjpeg-turbo), so that samples may differ by a few levels.

use std::borrow::Cow;

use jpeg_decoder::ColorTransform;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use self::markers::{APP14, Colours, DHT, EOI, Frame, Header, Rest, SOI};
use super::decoded::{Decoded, Refusal, check_size};
use super::tags;

mod colours;
mod markers;

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let Header { frame, scan, .. } = markers::header(bytes).ok()?;
    let height = if frame.height == 0 { markers::rest(bytes, scan).rows? } else { frame.height };
    Some((frame.width.into(), height.into()))
}

/// Decodes a file; what is missing of a torn one stays grey, if that is allowed.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let header = markers::header(bytes)?;
    let rest = markers::rest(bytes, header.scan);
    if rest.end.is_none() && !torn {
        return Err("the JPEG is truncated: it has no end-of-image marker".into());
    }
    let Frame { process, precision, width, .. } = header.frame;
    let height = if header.frame.height == 0 { rest.rows.unwrap_or(0) } else { header.frame.height };
    check_size(width.into(), height.into())?;
    if precision != 8 {
        return Err(format!("it is a JPEG with {precision} bits a sample, which can't be decoded").into());
    }
    let colours = header.colours().ok_or_else(|| {
        let count = header.frame.components.len();
        format!("it is a JPEG with {count} components, which can't be decoded")
    })?;
    let sequential = process < 2 && !separate(&header);
    let mut plain = plain(bytes, &header, height, &rest);
    // An end marker would make the decoder fill what is missing with grey. Without it, it fails where it has read more than it
    // reads ahead.
    plain.extend(if sequential { &[0; 8][..] } else { &[0xff, EOI] });
    let samples = match process {
        0 | 1 if separate(&header) => in_separate_scans(&plain, colours)?,
        0..=2 => in_common_scans(&plain, colours, torn, sequential)?,
        3 if colours == Colours::Grey => in_separate_scans(&plain, colours)?,
        3 => return Err("it is a lossless JPEG in colour, which can't be decoded".into()),
        9 | 10 => return Err("it is a JPEG with arithmetic coding, which can't be decoded".into()),
        _ => return Err("it is a hierarchical or lossless arithmetic JPEG, which can't be decoded".into()),
    };
    let (width, height) = (usize::from(width), usize::from(height));
    if samples.len() != width * height * header.frame.components.len() {
        return Err("the JPEG's picture is not as large as its header says".into());
    }
    let rgb = colours::rgb(samples, colours);
    Ok(Decoded { width, height, rgb, orientation: tags::orientation(&header.exif, header.xmp) })
}

/// Whether a sequential picture has its components in scans of their own.
fn separate(header: &Header) -> bool {
    usize::from(header.scan_components) < header.frame.components.len()
}

/// The same picture up to its end marker, without comments and applications' data, with its number of rows in its header, its components numbered,
/// and marked as RGB or CMYK, so that decoders don't convert its colours.
fn plain(bytes: &[u8], header: &Header, height: u16, rest: &Rest) -> Vec<u8> {
    let mut plain = vec![0xff, SOI];
    let mut push = |marker: u8, segment: &[u8]| {
        plain.extend([0xff, marker]);
        plain.extend((segment.len() as u16 + 2).to_be_bytes());
        plain.extend(segment);
    };
    if header.frame.components.len() > 1 {
        push(APP14, b"Adobe\0\x64\0\0\0\0\0");
    }
    if header.tables.iter().all(|(marker, _)| *marker != DHT) {
        // Frames of a Motion JPEG have no tables of codes: the standard ones are meant, which this segment asks for.
        push(0xe0, b"AVI1\0\0\0\0\0\0\0\0");
    }
    for &(marker, segment) in &header.tables {
        let mut segment = Cow::Borrowed(segment);
        if marker == 0xc0 | header.frame.process {
            segment.to_mut()[1..3].copy_from_slice(&height.to_be_bytes());
        }
        push(marker, &segment);
    }
    let end = rest.end.unwrap_or(bytes.len());
    let [until, from] = rest.rows_at.unwrap_or([end; 2]);
    plain.extend(&bytes[header.scan..until]);
    plain.extend(&bytes[from..end]);
    plain
}

/// Samples of a sequential or progressive picture.
fn in_common_scans(plain: &[u8], colours: Colours, torn: bool, sequential: bool) -> Result<Vec<u8>, Refusal> {
    let space = match colours {
        Colours::Grey => ColorSpace::Luma,
        Colours::Rgb | Colours::YCbCr => ColorSpace::RGB,
        Colours::Cmyk | Colours::Ycck => ColorSpace::CMYK,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(!torn || sequential)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(space);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(plain), options);
    decoder.decode_headers().map_err(damaged)?;
    // What is not reached stays grey.
    let mut samples = vec![128; decoder.output_buffer_size().ok_or("the JPEG states no size")?];
    match decoder.decode_into(&mut samples) {
        Err(error) if !torn => Err(damaged(error)),
        _ => Ok(samples),
    }
}

/// Samples of a lossless picture, or one with each component in a scan of its own.
fn in_separate_scans(plain: &[u8], colours: Colours) -> Result<Vec<u8>, Refusal> {
    let mut decoder = jpeg_decoder::Decoder::new(plain);
    decoder.set_color_transform(match colours {
        Colours::Grey => ColorTransform::Grayscale,
        Colours::Rgb | Colours::YCbCr => ColorTransform::RGB,
        Colours::Cmyk | Colours::Ycck => ColorTransform::CMYK,
    });
    let mut samples = decoder.decode().map_err(damaged)?;
    if matches!(colours, Colours::Cmyk | Colours::Ycck) {
        // This decoder inverts inks.
        samples.iter_mut().for_each(|sample| *sample = 255 - *sample);
    }
    Ok(samples)
}

/// A decoder's error, in words of our own.
fn damaged(error: impl std::fmt::Display) -> Refusal {
    format!("the JPEG is damaged or cut off ({})", error.to_string().trim_matches('"')).into()
}
