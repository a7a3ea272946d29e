//! DirectDraw surfaces: plain pixels, and blocks of the kinds BC1 to BC5 (DXT1, DXT3, DXT5, ATI1, ATI2) and BC7.

use super::bytes::{be32, le16, le32, palette, whole};
use super::decoded::{Decoded, Refusal, check_size};

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    Some((le32(bytes, 16)? as u64, le32(bytes, 12)? as u64))
}

/// Decodes the first picture of a file.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the DDS's header is truncated")?;
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let field = |at| le32(bytes, at).unwrap_or(0);
    let (flags, code, depth) = (field(80), bytes.get(84..88).unwrap_or_default(), field(88));
    let after = |at: usize| bytes.get(at..).unwrap_or_default();
    let colours = palette(bytes.get(128..1152).unwrap_or_default(), 0, |[r, g, b, _]: &[u8; 4]| [*r, *g, *b]);
    let rgb: Vec<u8> = match (flags, depth, code) {
        (0x40.., 8 | 16 | 24 | 32, _) if flags & 0x40 != 0 => {
            let masks = [92, 96, 100].map(field);
            after(128).chunks_exact(depth / 8).take(width * height).flat_map(|pixel| masked(pixel, masks)).collect()
        }
        (_, 8, _) if flags & 0x2_0000 != 0 => {
            after(128).iter().take(width * height).flat_map(|grey| [*grey; 3]).collect()
        }
        (_, 16, _) if flags & 0x2_0001 == 0x2_0001 => {
            after(128).as_chunks::<2>().0.iter().take(width * height).flat_map(|[grey, _]| [*grey; 3]).collect()
        }
        _ if flags & 0x20 != 0 => {
            after(1152).iter().take(width * height).flat_map(|index| colours[usize::from(*index)]).collect()
        }
        (.., b"DXT1") => blocks(after(128), width, height, 8, |block| colour_block(block, false)),
        (.., b"DXT3" | b"DXT5") => blocks(after(128), width, height, 16, |block| colour_block(&block[8..], true)),
        (.., b"ATI1" | b"BC4U") => blocks(after(128), width, height, 8, grey_block),
        (.., b"ATI2" | b"BC5U") => blocks(after(128), width, height, 16, |block| two_block(block, 0)),
        (.., b"BC5S") => blocks(after(128), width, height, 16, |block| two_block(block, 128)),
        (.., b"DX10") => match field(128) {
            27..=29 => {
                after(148).as_chunks().0.iter().take(width * height).flat_map(|[r, g, b, _]| [*r, *g, *b]).collect()
            }
            70 | 71 => blocks(after(148), width, height, 8, |block| colour_block(block, false)),
            73 | 74 | 76 | 77 => blocks(after(148), width, height, 16, |block| colour_block(&block[8..], true)),
            79 | 80 => blocks(after(148), width, height, 8, grey_block),
            82 | 83 => blocks(after(148), width, height, 16, |block| two_block(block, 0)),
            97..=99 => blocks(after(148), width, height, 16, bc7_block),
            84 => blocks(after(148), width, height, 16, |block| two_block(block, 128)),
            format => return Err(format!("it is a DDS of DXGI format {format}, which can't be decoded").into()),
        },
        _ => {
            let code: String =
                code.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
            return Err(format!("it is a DDS of an unknown kind ({code}), which can't be decoded").into());
        }
    };
    whole(rgb, width, height, torn, "DDS")
}

/// A plain pixel's colours, each scaled from its mask's range.
fn masked(pixel: &[u8], masks: [usize; 3]) -> [u8; 3] {
    let value = pixel.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    masks.map(|mask| match mask {
        0 => 0,
        _ => {
            let low = mask.trailing_zeros();
            (((value & mask) >> low) as f64 / (mask >> low) as f64 * 255.0) as u8
        }
    })
}

/// The pixels of blocks of 4x4, each of `length` bytes; what is missing stays out from the first incomplete row of blocks on.
fn blocks(data: &[u8], width: usize, height: usize, length: usize, decode: impl Fn(&[u8]) -> [[u8; 3]; 16]) -> Vec<u8> {
    let across = width.div_ceil(4);
    let mut rgb = Vec::new();
    for (row, blocks) in data.chunks_exact(across * length).take(height.div_ceil(4)).enumerate() {
        let decoded: Vec<_> = blocks.chunks_exact(length).map(&decode).collect();
        for y in 0..4.min(height - 4 * row) {
            rgb.extend((0..width).flat_map(|x| decoded[x / 4][4 * y + x % 4]));
        }
    }
    rgb
}

/// BC1's colours: two that are stored, and two between them, or one and black.
fn colour_block(block: &[u8], four: bool) -> [[u8; 3]; 16] {
    let stored = [0, 2].map(|at| le16(block, at).unwrap_or(0));
    let wide = |value: usize, bits: usize| value << (8 - bits) | value >> (2 * bits - 8);
    let [a, b] = stored.map(|c| [wide(c >> 11, 5), wide(c >> 5 & 63, 6), wide(c & 31, 5)]);
    let mix = |of_a: usize, of_b: usize| std::array::from_fn(|i| (of_a * a[i] + of_b * b[i]) / (of_a + of_b));
    let four = four || stored[0] > stored[1];
    let colours = if four { [a, b, mix(2, 1), mix(1, 2)] } else { [a, b, mix(1, 1), [0; 3]] };
    let colours = colours.map(|colour| colour.map(|c| c as u8));
    let indices = le32(block, 4).unwrap_or(0);
    std::array::from_fn(|i| colours[indices >> (2 * i) & 3])
}

/// BC4's values: two that are stored, and six or four between them. Signed ones have `offset` added.
fn value_block(block: &[u8], offset: u8) -> [u8; 16] {
    let [a, b] = [block[0], block[1]].map(|value| usize::from(value.wrapping_add(offset)));
    let steps = if a > b { 7 } else { 5 };
    let value = |index: usize| match index {
        0 => a,
        1 => b,
        6 | 7 if steps == 5 => 255 * (index - 6),
        _ => ((steps + 1 - index) * a + (index - 1) * b) / steps,
    };
    // Three bits for each pixel, the lowest first.
    let high = be32(&[0, block[7], block[6], block[5]], 0).unwrap_or(0);
    let low = be32(&[0, block[4], block[3], block[2]], 0).unwrap_or(0);
    std::array::from_fn(|i| value(if i < 8 { low >> (3 * i) } else { high >> (3 * (i - 8)) } & 7) as u8)
}

/// BC7, without its alpha.
fn bc7_block(block: &[u8]) -> [[u8; 3]; 16] {
    let mut pixels = [0; 64];
    bcdec_rs::bc7(block, &mut pixels, 16);
    std::array::from_fn(|i| [pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]])
}

fn grey_block(block: &[u8]) -> [[u8; 3]; 16] {
    value_block(block, 0).map(|grey| [grey; 3])
}

/// BC5: red and green; blue is the middle of its range.
fn two_block(block: &[u8], offset: u8) -> [[u8; 3]; 16] {
    let (red, green) = (value_block(block, offset), value_block(&block[8..], offset));
    std::array::from_fn(|i| [red[i], green[i], offset])
}
