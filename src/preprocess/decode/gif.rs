//! The first frame of a GIF on its screen, as Pillow shows it.

use std::borrow::Cow;

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::bytes::{le16, palette};
use super::decoded::{Decoded, Refusal, check_size};

/// Width and height of the screen, which a larger first frame grows.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let frame =
        |at: usize| Some([le16(bytes, at + 1)? + le16(bytes, at + 5)?, le16(bytes, at + 3)? + le16(bytes, at + 7)?]);
    let mut at = 13 + table(*bytes.get(10)?);
    let end = loop {
        match *bytes.get(at)? {
            0x21 => at += 2,
            0x2c => break frame(at)?,
            _ => return None,
        }
        while let length @ 1.. = usize::from(*bytes.get(at)?) {
            at += 1 + length;
        }
        at += 1;
    };
    Some((le16(bytes, 6)?.max(end[0]) as u64, le16(bytes, 8)?.max(end[1]) as u64))
}

/// The length of the table of colours that flags announce.
fn table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << (1 + (flags & 7)) }
}

/// The file with a table of greys for all its frames, if it has no such table: without one, numbers of colours are greys.
fn with_table(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some((start, rest)) = bytes.split_at_checked(13) else { return bytes.into() };
    if table(start[10]) > 0 {
        return bytes.into();
    }
    let greys = (0..=255_u8).flat_map(|grey| [grey; 3]);
    let start = start.iter().enumerate().map(|(i, byte)| if i == 10 { byte | 0x87 } else { *byte });
    start.chain(greys).chain(rest.iter().copied()).collect()
}

/// Decodes the first frame. What surrounds it has the transparent colour, or the palette's first.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.allow_unknown_blocks(true);
    let bytes = with_table(bytes);
    let mut decoder = options.read_info(&*bytes).map_err(Refusal::by)?;
    let screen = [decoder.width(), decoder.height()].map(usize::from);
    let frame = decoder.next_frame_info().map_err(Refusal::by)?.ok_or("the GIF has no frame")?;
    let [left, top, columns, rows] = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let (interlaced, transparent, local) = (frame.interlaced, frame.transparent, frame.palette.clone());
    let (width, height) = (screen[0].max(left + columns), screen[1].max(top + rows));
    check_size(width as u64, height as u64)?;
    let colours = local.or_else(|| decoder.global_palette().map(<[u8]>::to_vec)).unwrap_or_default();
    let colours = palette(&colours, 0, |rgb: &[u8; 3]| *rgb);
    let background = colours[usize::from(transparent.unwrap_or(0))];
    let mut rgb = background.repeat(width * height);
    let mut row = vec![0; columns];
    for y in order(rows, interlaced) {
        match decoder.fill_buffer(&mut row) {
            Ok(true) => {}
            Ok(false) | Err(_) if torn => break,
            Ok(false) => return Err("the GIF is truncated: its frame has too few pixels".into()),
            Err(error) => return Err(Refusal::by(error)),
        }
        let start = 3 * ((top + y) * width + left);
        for (place, index) in rgb[start..start + 3 * columns].as_chunks_mut().0.iter_mut().zip(&row) {
            *place = colours[usize::from(*index)];
        }
    }
    Ok(Decoded { width, height, rgb, orientation: None })
}

/// The rows in the order in which they are stored.
fn order(rows: usize, interlaced: bool) -> Vec<usize> {
    match interlaced {
        false => (0..rows).collect(),
        true => {
            [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter().flat_map(|(first, step)| (first..rows).step_by(step)).collect()
        }
    }
}
