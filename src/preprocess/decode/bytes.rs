//! Numbers at places in a file, and pixels that readers of simple formats have in common.

use super::decoded::{Decoded, Refusal};

/// 256 colours.
pub type Palette = [[u8; 3]; 256];

/// Two bytes, the lowest first; `None` behind the end of the file.
pub fn le16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

/// Two bytes, the highest first.
pub fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

/// Four bytes, the lowest first.
pub fn le32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// Four bytes, the highest first.
pub fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// The colours of entries that each have `N` bytes, the first at the index `start`. Without entries they are all greys, else those
/// that are missing are black, as Pillow has them.
pub fn palette<const N: usize>(entries: &[u8], start: usize, colour: impl Fn(&[u8; N]) -> [u8; 3]) -> Palette {
    let mut palette = std::array::from_fn(|grey| if entries.is_empty() { [grey as u8; 3] } else { [0; 3] });
    for (place, entry) in palette.iter_mut().skip(start).zip(entries.as_chunks().0) {
        *place = colour(entry);
    }
    palette
}

/// The `index`-th group of so many bits (1, 2, 4 or 8), from the highest bit of the first byte; 0 behind the end.
pub fn bits(bytes: &[u8], width: usize, index: usize) -> u8 {
    let byte = bytes.get(index * width / 8).copied().unwrap_or(0);
    let low = 8 - width - index * width % 8;
    (byte >> low) & (0xff >> (8 - width)) as u8
}

/// 5 bits a colour in two bytes, red highest.
pub fn five_bits(pixel: usize) -> [u8; 3] {
    [pixel >> 10, pixel >> 5, pixel].map(|colour| ((colour & 31) * 255 / 31) as u8)
}

/// The rows of a picture in reverse order.
pub fn upside_down(rgb: &[u8], width: usize) -> Vec<u8> {
    rgb.chunks_exact(3 * width).rev().flatten().copied().collect()
}

/// A picture whose file may have ended too early: that is refused, unless torn files are allowed. Then the rows that are not complete are black.
pub fn whole(mut rgb: Vec<u8>, width: usize, height: usize, torn: bool, format: &str) -> Result<Decoded, Refusal> {
    if rgb.len() < 3 * width * height && !torn {
        return Err(format!("the {format} is truncated").into());
    }
    let rows = rgb.len() / (3 * width);
    rgb.truncate(3 * width * rows.min(height));
    rgb.resize(3 * width * height, 0);
    Ok(Decoded { width, height, rgb, orientation: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_palettes_are_counted_from_the_start() {
        assert_eq!((0..5).map(|i| bits(&[0b1101_0010], 2, i)).collect::<Vec<u8>>(), [3, 1, 0, 2, 0]);
        assert_eq!(bits(&[1, 0x80], 1, 8), 1);
        let colours = palette(&[1, 2, 3, 4, 5, 6, 7], 1, |bgr: &[u8; 3]| *bgr);
        assert_eq!(colours[..4], [[0; 3], [1, 2, 3], [4, 5, 6], [0; 3]]);
        assert_eq!(upside_down(&[1, 1, 1, 2, 2, 2], 1), [2, 2, 2, 1, 1, 1]);
    }
}
