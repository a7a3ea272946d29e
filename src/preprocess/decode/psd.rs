//! The merged picture of a Photoshop document.

use super::bytes::{be16, be32, bits, palette, whole};
use super::colours::from_inks;
use super::decoded::{Decoded, Refusal, check_size};

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    Some((be32(bytes, 18)? as u64, be32(bytes, 14)? as u64))
}

/// Decodes a file.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    const CUT: &str = "the PSD is truncated";
    let (width, height) = size(bytes).ok_or(CUT)?;
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let field = |at| be16(bytes, at).ok_or(CUT);
    let (version, channels, depth, mode) = (field(4)?, field(12)?, field(22)?, field(24)?);
    if version != 1 {
        return Err("it is a PSB (a large Photoshop document), which can't be decoded".into());
    }
    let needed = match (mode, depth) {
        (0, 1 | 8) | (1 | 2 | 7 | 8, 8) => 1,
        (3, 8) => 3,
        (4, 8) => 4,
        (9, 8) => return Err("it is a PSD with Lab colours, which can't be decoded".into()),
        _ => return Err(format!("it is a PSD of mode {mode} with {depth} bits, which can't be decoded").into()),
    };
    if channels < needed {
        return Err("the PSD has too few channels".into());
    }
    let section = |at: usize| Some((at + 4, (at + 4).checked_add(be32(bytes, at)?)?));
    let (table, at) = section(26).ok_or(CUT)?;
    let table = bytes.get(table..at).filter(|table| mode == 2 && table.len() == 768).unwrap_or_default();
    let colours = palette::<1>(&[], 0, |_| [0; 3]);
    let colour = |i: usize| match table {
        [] => colours[i],
        _ => [table[i], table[256 + i], table[512 + i]],
    };
    // Resources, then layers and masks.
    let (_, at) = section(at).ok_or(CUT)?;
    let (_, at) = section(at).ok_or(CUT)?;
    let stride = (width * depth).div_ceil(8);
    let planes = match be16(bytes, at) {
        Some(0) => {
            bytes.get(at + 2..).unwrap_or_default().chunks(stride * height).take(needed).map(<[u8]>::to_vec).collect()
        }
        // The lengths of all rows come first, those of channels that are not needed too.
        Some(1) => packed(bytes, at + 2, needed, channels, stride, height),
        Some(method) => return Err(format!("it is a PSD with compression {method}, which can't be decoded").into()),
        None => Vec::new(),
    };
    let sample = |channel: usize, y: usize, x: usize| planes.get(channel)?.get(y * stride + x).copied();
    let pixel = |i: usize| {
        let (y, x) = (i / width, i % width);
        Some(match (mode, depth) {
            (0, 1) => [255 * bits(&[sample(0, y, x / 8)?], 1, x % 8); 3],
            (3, _) => [sample(0, y, x)?, sample(1, y, x)?, sample(2, y, x)?],
            (4, _) => {
                // Inks are stored inverted.
                let ink = |channel| Some(255 - sample(channel, y, x)?);
                from_inks([ink(0)?, ink(1)?, ink(2)?], ink(3)?)
            }
            _ => colour(sample(0, y, x)?.into()),
        })
    };
    let rgb = (0..width * height).map_while(pixel).flatten().collect();
    whole(rgb, width, height, torn, "PSD")
}

/// The first channels, each row of which is stored in runs (PackBits).
fn packed(bytes: &[u8], at: usize, needed: usize, channels: usize, stride: usize, height: usize) -> Vec<Vec<u8>> {
    let mut start = at + 2 * channels * height;
    let mut planes = Vec::new();
    for channel in 0..needed {
        let lengths = (0..height).map_while(|y| be16(bytes, at + 2 * (channel * height + y)));
        planes.push(unpack(bytes.get(start..).unwrap_or_default(), stride, height));
        start += lengths.sum::<usize>();
    }
    planes
}

/// At most so many rows. What a run has beyond the end of its row is dropped.
fn unpack(data: &[u8], stride: usize, height: usize) -> Vec<u8> {
    let (mut out, mut data) = (Vec::new(), data.iter().copied());
    let mut end = stride;
    while out.len() < stride * height {
        match data.next() {
            None => break,
            Some(128) => {}
            Some(code @ 129..) => {
                let Some(value) = data.next() else { break };
                out.resize(out.len() + 257 - usize::from(code), value);
            }
            Some(code) => out.extend(data.by_ref().take(usize::from(code) + 1)),
        }
        if out.len() >= end {
            out.truncate(end);
            end += stride;
        }
    }
    out
}
