//! PCX (Paintbrush).

use super::bytes::{bits, le16, palette, whole};
use super::decoded::{Decoded, Refusal, check_size};

/// Whether bytes begin as a PCX does.
pub fn is_pcx(bytes: &[u8]) -> bool {
    matches!(bytes, [10, 0 | 2 | 3 | 5, 1, 1 | 2 | 4 | 8, ..]) && bytes.len() > 68
}

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let side = |low: usize, high: usize| (le16(bytes, high)? as u64 + 1).checked_sub(le16(bytes, low)? as u64);
    Some((side(4, 8)?, side(6, 10)?))
}

/// Decodes a file.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the PCX states no size")?;
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let [version, depth, planes] = [1, 3, 65].map(|at| bytes.get(at).copied().unwrap_or(0));
    let mut stride = (width * usize::from(depth)).div_ceil(8);
    if le16(bytes, 66) != Some(stride) {
        stride += stride % 2;
    }
    let sixteen = palette(bytes.get(16..64).unwrap_or_default(), 0, |rgb: &[u8; 3]| *rgb);
    let last = bytes.len().checked_sub(769).map(|at| &bytes[at..]).filter(|last| last[0] == 12);
    let colours = palette(last.map_or(&[], |last| &last[1..]), 0, |rgb: &[u8; 3]| *rgb);
    let colour = |row: &[u8], x: usize| match (version, depth, planes) {
        (_, 1, 1) => [255 * bits(row, 1, x); 3],
        (_, 1, _) => {
            let plane = |plane: u8| bits(&row[usize::from(plane) * stride..], 1, x) << plane;
            sixteen[usize::from((0..planes).map(plane).sum::<u8>())]
        }
        (_, _, 1) => colours[usize::from(row[x])],
        _ => [row[x], row[stride + x], row[2 * stride + x]],
    };
    if !matches!((version, depth, planes), (_, 1, 1 | 2 | 4) | (5, 8, 1 | 3)) {
        return Err(format!("it is a PCX with {planes} planes of {depth} bits, which can't be decoded").into());
    }
    let row_length = stride * usize::from(planes);
    let rows = expand(bytes.get(128..).unwrap_or_default(), row_length, height)?;
    let rgb = rows.chunks_exact(row_length).flat_map(|row| (0..width).flat_map(move |x| colour(row, x))).collect();
    whole(rgb, width, height, torn, "PCX")
}

/// Bytes that are stored in runs, which end with a row.
fn expand(data: &[u8], stride: usize, height: usize) -> Result<Vec<u8>, Refusal> {
    let (mut out, mut data) = (Vec::new(), data.iter());
    while out.len() < stride * height {
        let Some(&code) = data.next() else { break };
        if code < 0xc0 {
            out.push(code);
            continue;
        }
        let Some(&value) = data.next() else { break };
        let run = usize::from(code & 0x3f);
        if out.len() % stride + run > stride {
            return Err("the PCX is damaged: a run goes over the end of a row".into());
        }
        out.resize(out.len() + run, value);
    }
    Ok(out)
}
