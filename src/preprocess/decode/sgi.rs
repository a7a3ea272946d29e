//! SGI's image format (RGB).

use super::bytes::{be16, be32, upside_down, whole};
use super::decoded::{Decoded, Refusal, check_size};

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    Some((be16(bytes, 6)? as u64, be16(bytes, 8)? as u64))
}

/// Decodes a file. 16-bit samples keep their high byte.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the SGI's header is truncated")?;
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let field = |at| be16(bytes, at).unwrap_or(0);
    let (run_length, depth, dimensions) = (bytes[2], usize::from(bytes[3]), field(4));
    let channels = match (dimensions, field(10)) {
        (1 | 2, 1) => 1,
        (3, channels @ (3 | 4)) => channels,
        (dimensions, channels) => {
            let what = format!("{dimensions} dimensions and {channels} channels");
            return Err(format!("it is an SGI image with {what}, which can't be decoded").into());
        }
    };
    if !matches!(depth, 1 | 2) || run_length > 1 {
        return Err("it is an SGI image with an unknown kind of storage, which can't be decoded".into());
    }
    let row = |channel: usize, y: usize| -> Option<Vec<u8>> {
        let index = channel * height + y;
        if run_length == 0 {
            let start = 512 + index * width * depth;
            return Some(bytes.get(start..start + width * depth)?.iter().step_by(depth).copied().collect());
        }
        let row = expand(bytes.get(be32(bytes, 512 + 4 * index)?..)?, depth, width);
        (row.len() == width).then_some(row)
    };
    let whole_row = |y: usize| {
        let [r, g, b] = if channels == 1 { [0; 3] } else { [0, 1, 2] }.map(|channel| row(channel, y));
        let (r, g, b) = (r?, g?, b?);
        Some((0..width).flat_map(|x| [r[x], g[x], b[x]]).collect::<Vec<u8>>())
    };
    let rgb = (0..height).map_while(whole_row).flatten().collect();
    let mut decoded = whole(rgb, width, height, torn, "SGI image")?;
    decoded.rgb = upside_down(&decoded.rgb, width);
    Ok(decoded)
}

/// At most so many samples of a row, of which the high bytes are kept.
fn expand(data: &[u8], depth: usize, width: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut samples = data.chunks_exact(depth);
    while let Some(code) = samples.next().and_then(|sample| sample.last()) {
        let count = usize::from(code & 127);
        match code {
            0 | 128 => break,
            129.. => out.extend(samples.by_ref().take(count).map(|sample| sample[0])),
            _ => {
                let Some(sample) = samples.next() else { break };
                out.resize(out.len() + count, sample[0]);
            }
        }
        if out.len() >= width {
            break;
        }
    }
    out
}
