//! Icons and cursors of Windows: the largest picture of the file.

use super::bmp::{self, Bitmap};
use super::bytes::{le16, le32};
use super::decoded::{Decoded, Refusal, check_size};
use super::png;

/// Whether bytes begin as an icon (1) or a cursor (2) does.
fn kind(bytes: &[u8]) -> Option<usize> {
    (le16(bytes, 0) == Some(0)).then(|| le16(bytes, 2))?.filter(|kind| matches!(kind, 1 | 2))
}

/// Whether it is an icon or a cursor.
pub fn is_icon(bytes: &[u8]) -> bool {
    kind(bytes).is_some()
}

/// Width and height of the picture that is decoded.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let place = largest(bytes)?;
    let picture = bytes.get(place..)?;
    if png::is_png(picture) {
        return png::size(picture);
    }
    let bitmap = Bitmap::read(bytes, place, 0).ok()?;
    Some((bitmap.width as u64, bitmap.height as u64 / 2))
}

/// Decodes the largest picture. What its mask hides keeps its colour, except in cursors of two colours.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let place = largest(bytes).ok_or("the icon has no pictures")?;
    let picture = bytes.get(place..).filter(|picture| !picture.is_empty()).ok_or("the icon is truncated")?;
    let cursor = kind(bytes) == Some(2);
    if png::is_png(picture) && !cursor {
        return png::decode(picture, torn);
    }
    if !bmp::is_dib(picture) {
        return Err("the icon's picture is neither PNG nor BMP".into());
    }
    let bitmap = Bitmap::read(bytes, place, 0)?;
    let height = bitmap.height / 2;
    check_size(bitmap.width as u64, bitmap.height as u64)?;
    check_size(bitmap.width as u64, height as u64)?;
    if !(cursor && bitmap.bits == 1) {
        return bitmap.decode(bytes, height, torn);
    }
    // The mask lies above the picture; where it is set, nothing is drawn.
    let both = bitmap.decode(bytes, 2 * height, torn)?;
    let (mask, picture) = both.rgb.split_at(3 * bitmap.width * height);
    let rgb = mask.iter().zip(picture).map(|(mask, colour)| if *mask == 0 { *colour } else { 0 }).collect();
    Ok(Decoded { height, rgb, ..both })
}

/// Where the picture begins that Pillow shows: of the largest ones of an icon, the first of the fewest colours.
fn largest(bytes: &[u8]) -> Option<usize> {
    let cursor = kind(bytes)? == 2;
    let mut best: Option<([usize; 2], usize, usize)> = None;
    for entry in bytes.get(6..)?.chunks_exact(16).take(le16(bytes, 4)?) {
        let place = le32(entry, 12)?;
        let sides = [usize::from(entry[0]), usize::from(entry[1])];
        let better = if cursor {
            best.is_none_or(|(other, ..)| sides[0] > other[0] && sides[1] > other[1]).then_some((sides, 0, place))
        } else {
            let sides = sides.map(|side| if side == 0 { 256 } else { side });
            let depth = match (le16(entry, 6)?, entry[2]) {
                (0, 0 | 1) => 256,
                (0, colours) => (colours - 1).ilog2() as usize + 1,
                (depth, _) => depth,
            };
            let area = |sides: [usize; 2]| sides[0] * sides[1];
            let beats = |(other, depth_of_other, _): ([usize; 2], usize, usize)| {
                area(sides) > area(other) || area(sides) == area(other) && depth < depth_of_other
            };
            best.is_none_or(beats).then_some((sides, depth, place))
        };
        best = better.or(best);
    }
    best.map(|(.., place)| place)
}
