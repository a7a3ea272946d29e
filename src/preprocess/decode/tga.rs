//! Targa (TGA). The format has no magic number, so a file is one if its header makes sense.

use super::bytes::{Palette, bits, five_bits, le16, palette, upside_down, whole};
use super::decoded::{Decoded, Refusal, check_size};

struct Header {
    width: usize,
    height: usize,
    /// 1 palette, 2 colours, 3 grey.
    kind: u8,
    run_length: bool,
    depth: usize,
    top_down: bool,
    mirrored: bool,
    palette: Palette,
    data: usize,
}

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let header = header(bytes)?;
    Some((header.width as u64, header.height as u64))
}

/// Decodes a file; `None` if it is none.
pub fn decode(bytes: &[u8], torn: bool) -> Option<Result<Decoded, Refusal>> {
    header(bytes).map(|header| header.decode(bytes, torn))
}

fn header(bytes: &[u8]) -> Option<Header> {
    let &[id, mapped, kind, _, _, _, _, entry, ..] = bytes else { return None };
    let (start, count) = (le16(bytes, 3)?, le16(bytes, 5)?);
    let (width, height) = (le16(bytes, 12)?, le16(bytes, 14)?);
    let (depth, flags) = (usize::from(*bytes.get(16)?), *bytes.get(17)?);
    let known = matches!((kind & 7, depth), (1, 8) | (3, 1 | 8 | 16) | (2, 16 | 24 | 32));
    if mapped > 1 || kind & !8 != kind & 7 || !known || width == 0 || height == 0 || kind & 7 == 1 && mapped == 0 {
        return None;
    }
    let first = 18 + usize::from(id);
    let (colours, table) = match (mapped, entry) {
        (0, _) => (palette(&[], 0, |_: &[u8; 3]| [0; 3]), 0),
        (_, 16) => {
            let table = bytes.get(first..first + 2 * count)?;
            (palette(table, start, |two: &[u8; 2]| five_bits(u16::from_le_bytes(*two).into())), 2 * count)
        }
        (_, 24) => {
            (palette(bytes.get(first..first + 3 * count)?, start, |[b, g, r]: &[u8; 3]| [*r, *g, *b]), 3 * count)
        }
        (_, 32) => {
            (palette(bytes.get(first..first + 4 * count)?, start, |[b, g, r, _]: &[u8; 4]| [*r, *g, *b]), 4 * count)
        }
        _ => return None,
    };
    Some(Header {
        width,
        height,
        kind: kind & 7,
        run_length: kind & 8 != 0,
        depth,
        top_down: flags & 0x20 != 0,
        mirrored: flags & 0x10 != 0,
        palette: colours,
        data: first + table,
    })
}

impl Header {
    fn decode(&self, bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
        let Header { width, height, depth, .. } = *self;
        check_size(width as u64, height as u64)?;
        let data = bytes.get(self.data..).unwrap_or_default();
        let stride = (width * depth).div_ceil(8);
        let unpacked;
        let rows = if self.run_length {
            unpacked = expand(data, depth.div_ceil(8), stride, height)?;
            &unpacked[..]
        } else {
            data
        };
        let rgb = rows.chunks_exact(stride).take(height).flat_map(|row| (0..width).flat_map(|x| self.colour(row, x)));
        let mut decoded = whole(rgb.collect(), width, height, torn, "TGA")?;
        if !self.top_down {
            decoded.rgb = upside_down(&decoded.rgb, width);
        }
        if self.mirrored {
            let rows = decoded.rgb.chunks_exact(3 * width);
            decoded.rgb = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied()).collect();
        }
        Ok(decoded)
    }

    fn colour(&self, row: &[u8], x: usize) -> [u8; 3] {
        match (self.kind, self.depth) {
            (1, _) => self.palette[usize::from(row[x])],
            (3, 1) => [255 * bits(row, 1, x); 3],
            (3, 16) => [row[2 * x]; 3],
            (3, _) => [row[x]; 3],
            (_, 16) => five_bits(usize::from(row[2 * x]) | usize::from(row[2 * x + 1]) << 8),
            (_, depth) => {
                let pixel = &row[depth / 8 * x..];
                [pixel[2], pixel[1], pixel[0]]
            }
        }
    }
}

/// Pixels of `depth` bytes that are stored in runs. Runs end with a row; literal pixels may go on in the next one.
fn expand(data: &[u8], depth: usize, stride: usize, height: usize) -> Result<Vec<u8>, Refusal> {
    let (mut out, mut at) = (Vec::new(), 0);
    while out.len() < stride * height {
        let Some(&code) = data.get(at) else { break };
        let count = usize::from(code & 127) + 1;
        let repeated = code & 128 != 0;
        let stored = if repeated { depth } else { count * depth };
        let Some(pixels) = data.get(at + 1..at + 1 + stored) else { break };
        at += 1 + stored;
        match repeated {
            true if out.len() % stride + count * depth > stride => {
                return Err("the TGA is damaged: a run goes over the end of a row".into());
            }
            true => out.extend(pixels.iter().cycle().take(count * depth)),
            false => out.extend(pixels),
        }
    }
    out.truncate(stride * height);
    Ok(out)
}
