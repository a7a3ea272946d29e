//! Icons of macOS: the largest picture of the file.

use super::bytes::be32;
use super::decoded::{Decoded, Refusal};
use super::{jp2, png};

/// Names of pictures, the largest first, and the side of those that are stored as plain colours.
const PICTURES: [(&[u8; 4], usize); 15] = [
    (b"ic10", 0),
    (b"ic09", 0),
    (b"ic14", 0),
    (b"ic08", 0),
    (b"ic13", 0),
    (b"ic07", 0),
    (b"it32", 128),
    (b"icp6", 0),
    (b"ih32", 48),
    (b"ic12", 0),
    (b"icp5", 0),
    (b"il32", 32),
    (b"ic11", 0),
    (b"icp4", 0),
    (b"is32", 16),
];

/// Width and height of the picture that is decoded.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let (data, side) = largest(bytes)?;
    match side {
        0 if png::is_png(data) => png::size(data),
        0 => jp2::size(data),
        _ => Some((side as u64, side as u64)),
    }
}

/// Decodes the largest picture.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (data, side) = largest(bytes).ok_or("the ICNS has no picture that can be decoded")?;
    match side {
        0 if png::is_png(data) => png::decode(data, torn),
        0 if jp2::is_jp2(data) => jp2::decode(data, torn),
        0 => Err("the ICNS's picture is neither PNG nor JPEG 2000".into()),
        _ => {
            let data = if side == 128 { data.get(4..).unwrap_or_default() } else { data };
            let rgb = planes(data, side * side).ok_or("the ICNS is truncated")?;
            Ok(Decoded { width: side, height: side, rgb, orientation: None })
        }
    }
}

fn largest(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let find = |name: &[u8; 4]| {
        let mut at = 8;
        loop {
            let length = be32(bytes, at + 4)?;
            if length < 8 {
                return None;
            }
            if bytes.get(at..at + 4)? == name {
                return bytes.get(at + 8..bytes.len().min(at + length));
            }
            at += length;
        }
    };
    PICTURES.iter().find_map(|(name, side)| Some((find(name)?, *side)))
}

/// Three planes that are stored in runs, or pixels.
fn planes(data: &[u8], count: usize) -> Option<Vec<u8>> {
    if data.len() == 3 * count {
        return Some(data.to_vec());
    }
    let (mut rgb, mut data) = (vec![0; 3 * count], data.iter());
    for channel in 0..3 {
        let mut plane = Vec::new();
        while plane.len() < count {
            match *data.next()? {
                code @ 128.. => plane.resize(plane.len() + usize::from(code) - 125, *data.next()?),
                code => {
                    for _ in 0..=code {
                        plane.push(*data.next()?);
                    }
                }
            }
        }
        rgb.iter_mut().skip(channel).step_by(3).zip(plane).for_each(|(place, sample)| *place = sample);
    }
    Some(rgb)
}
