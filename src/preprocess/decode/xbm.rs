//! XBM: a bitmap as C source.

use super::bytes::whole;
use super::decoded::{Decoded, Refusal, check_size};

/// Whether bytes begin as such a file does.
pub fn is_xbm(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.starts_with(b"#define ") && size(bytes).is_some()
}

/// Width and height as the file states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let head = std::str::from_utf8(bytes.get(..bytes.iter().position(|byte| *byte == b'{')?)?).ok()?;
    let value = |name: &str| {
        let mut lines = head.lines().filter(|line| line.starts_with("#define "));
        lines.find(|line| line.contains(name))?.split_ascii_whitespace().last()?.parse().ok()
    };
    head.contains("_bits[]").then_some(())?;
    Some((value("width ")?, value("height ")?))
}

/// Decodes a file: ones are white, as in Pillow.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let (width, height) = size(bytes).ok_or("the XBM states no size")?;
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let body = bytes.iter().position(|byte| *byte == b'{').map_or(&[][..], |at| &bytes[at + 1..]);
    let number = |word: &[u8]| {
        let word = word.trim_ascii();
        let digits = word.strip_prefix(b"0x").or(word.strip_prefix(b"0X"))?;
        u8::from_str_radix(std::str::from_utf8(digits.get(..2).unwrap_or(digits)).ok()?, 16).ok()
    };
    let stride = width.div_ceil(8);
    let bytes: Vec<u8> =
        body.split(|byte| matches!(byte, b',' | b'}')).map_while(number).take(stride * height).collect();
    let bit = |row: &[u8], x: usize| if row[x / 8] >> (x % 8) & 1 == 1 { [255; 3] } else { [0; 3] };
    let rgb = bytes.chunks_exact(stride).flat_map(|row| (0..width).flat_map(move |x| bit(row, x))).collect();
    whole(rgb, width, height, torn, "XBM")
}
