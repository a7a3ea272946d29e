//! PBM, PGM, PPM and PFM.

use super::bytes::{bits, whole};
use super::decoded::{Decoded, Refusal, check_size};

/// A file's header, and where what follows it begins.
struct Header {
    kind: u8,
    width: usize,
    height: usize,
    /// The highest value of a sample, or 0 in bitmaps.
    highest: usize,
    /// PFM's numbers have their lowest byte first.
    little: bool,
    data: usize,
}

/// Whether bytes begin as such a file does.
pub fn is_pnm(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'1'..=b'6' | b'f', next, ..] if is_space(*next) || *next == b'#')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let header = header(bytes)?.ok()?;
    Some((header.width as u64, header.height as u64))
}

/// Decodes a file. Samples are scaled to 0..255 as Pillow does; grey ones of more than 8 bits are cut off at 255, as are PFM's.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let Header { kind, width, height, highest, little, data } =
        header(bytes).unwrap_or_else(|| Err("the PNM's header is truncated or damaged".into()))?;
    check_size(width as u64, height as u64)?;
    let data = bytes.get(data..).unwrap_or_default();
    let channels = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    let count = width * height * channels;
    let samples: Vec<u8> = match kind {
        b'1' => plain_bits(data, count)?,
        b'4' => {
            let rows = data.chunks(width.div_ceil(8)).filter(|row| row.len() == width.div_ceil(8)).take(height);
            rows.flat_map(|row| (0..width).map(|x| 255 * (1 - bits(row, 1, x)))).collect()
        }
        b'2' | b'3' => plain_numbers(data, count, highest, channels)?,
        b'f' => {
            let floats = data.as_chunks().0.iter().take(count);
            let value = |four: &[u8; 4]| if little { f32::from_le_bytes(*four) } else { f32::from_be_bytes(*four) };
            let mut samples: Vec<u8> = floats.map(|four| value(four) as u8).collect();
            samples.truncate(samples.len() / width * width);
            samples
        }
        _ if highest < 256 => {
            let table: Vec<u8> = (0..256).map(|value| scaled(value, highest, channels)).collect();
            data.iter().take(count).map(|value| table[usize::from(*value)]).collect()
        }
        _ => {
            let table: Vec<u8> = (0..65_536).map(|value| scaled(value, highest, channels)).collect();
            data.as_chunks().0.iter().take(count).map(|two| table[usize::from(u16::from_be_bytes(*two))]).collect()
        }
    };
    let rgb = if channels == 3 { samples } else { samples.iter().flat_map(|grey| [*grey; 3]).collect() };
    let mut decoded = whole(rgb, width, height, torn, "PNM")?;
    if kind == b'f' {
        decoded.rgb = super::bytes::upside_down(&decoded.rgb, width);
    }
    Ok(decoded)
}

/// A sample of this range as a byte.
fn scaled(value: usize, highest: usize, channels: usize) -> u8 {
    // Pillow holds grey of more than 8 bits as 16 bits, and cuts them off when it converts to RGB.
    let range = if channels == 1 && highest > 255 { 65_535.0 } else { 255.0 };
    (value as f64 / highest as f64 * range).round_ties_even().min(255.0) as u8
}

fn header(bytes: &[u8]) -> Option<Result<Header, Refusal>> {
    let kind = *bytes.get(1)?;
    // A comment may follow the magic number only behind a space.
    let mut at = 3;
    let mut token = || {
        let mut token = Vec::new();
        while token.len() <= 10 {
            let byte = *bytes.get(at)?;
            at += 1;
            match byte {
                _ if is_space(byte) && token.is_empty() => {}
                _ if is_space(byte) => break,
                b'#' => {
                    while !matches!(bytes.get(at)?, b'\r' | b'\n') {
                        at += 1;
                    }
                    at += 1;
                }
                _ => token.push(byte),
            }
        }
        String::from_utf8(token).ok()
    };
    let (width, height) = (token()?.parse().ok()?, token()?.parse().ok()?);
    let (mut highest, mut little) = (0, false);
    match kind {
        b'1' | b'4' => {}
        b'f' => little = token()?.parse::<f64>().ok().filter(|scale| scale.is_finite() && *scale != 0.0)? < 0.0,
        _ => highest = token()?.parse().ok().filter(|highest| (1..65_536).contains(highest))?,
    }
    Some(Ok(Header { kind, width, height, highest, little, data: at }))
}

/// What is left of a plain file without its comments, in words.
fn words(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = data.split(|byte| matches!(byte, b'\r' | b'\n'));
    let uncommented = lines.map(|line| line.split(|byte| *byte == b'#').next().unwrap_or_default());
    uncommented.flat_map(|line| line.split(|byte| is_space(*byte))).filter(|word| !word.is_empty())
}

fn plain_bits(data: &[u8], count: usize) -> Result<Vec<u8>, Refusal> {
    let sample = |byte: &u8| match byte {
        b'0' => Ok(255),
        b'1' => Ok(0),
        _ => Err("the PBM has something other than 0 and 1".into()),
    };
    words(data).flatten().take(count).map(sample).collect()
}

fn plain_numbers(data: &[u8], count: usize, highest: usize, channels: usize) -> Result<Vec<u8>, Refusal> {
    let sample = |word: &[u8]| {
        let value = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        let value = value.filter(|value| *value <= highest);
        let value = value.ok_or("the PNM has something other than numbers of its range")?;
        Ok(scaled(value, highest, channels))
    };
    words(data).take(count).map(sample).collect()
}
