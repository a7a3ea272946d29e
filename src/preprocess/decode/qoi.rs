//! QOI, the Quite OK Image format.

use super::bytes::{be32, whole};
use super::decoded::{Decoded, Refusal, check_size};

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    Some((be32(bytes, 4)? as u64, be32(bytes, 8)? as u64))
}

/// Decodes a file.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the QOI's header is truncated")?;
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let rgb = pixels(bytes.get(14..).unwrap_or_default(), width * height);
    whole(rgb, width, height, torn, "QOI")
}

/// The colours of at most so many pixels.
fn pixels(data: &[u8], count: usize) -> Vec<u8> {
    let mut data = data.iter().copied();
    let mut seen = [[0u8; 4]; 64];
    let mut last = [0, 0, 0, 255];
    let mut rgb = Vec::new();
    while rgb.len() < 3 * count {
        let Some(code) = data.next() else { break };
        let mut take = || data.next();
        let [r, g, b, a] = last;
        let next = match (code >> 6, code & 63) {
            (3, 62) => (|| Some([take()?, take()?, take()?, a]))(),
            (3, 63) => (|| Some([take()?, take()?, take()?, take()?]))(),
            (0, index) => Some(seen[usize::from(index)]),
            (1, steps) => {
                let near = |colour: u8, shift: u8| colour.wrapping_add((steps >> shift) & 3).wrapping_sub(2);
                Some([near(r, 4), near(g, 2), near(b, 0), a])
            }
            (2, green) => take().map(|rest| {
                let green = green.wrapping_sub(32);
                let near = |colour: u8, step: u8| colour.wrapping_add(green).wrapping_add(step).wrapping_sub(8);
                [near(r, rest >> 4), g.wrapping_add(green), near(b, rest & 15), a]
            }),
            (_, run) => {
                rgb.extend([[r, g, b]; 64][..=usize::from(run)].iter().flatten());
                continue;
            }
        };
        let Some(next) = next else { break };
        last = next;
        let [r, g, b, a] = next.map(usize::from);
        seen[(3 * r + 5 * g + 7 * b + 11 * a) % 64] = next;
        rgb.extend(&next[..3]);
    }
    rgb.truncate(3 * count);
    rgb
}
