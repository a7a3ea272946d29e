//! Windows and OS/2 bitmaps, with a file's header or without (DIB), as they also lie in icons.

use super::bytes::{Palette, bits, le16, le32, palette, upside_down, whole};
use super::decoded::{Decoded, Refusal, check_size};

/// What a bitmap's header says.
pub struct Bitmap {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels; in an icon, that of picture and mask together.
    pub height: usize,
    /// Bits a pixel.
    pub bits: usize,
    top_down: bool,
    run_length: bool,
    masks: [u32; 3],
    palette: Palette,
    /// Where the pixels begin.
    data: usize,
}

/// Whether bytes begin as a bitmap without a file's header does: with its own header's length.
pub fn is_dib(bytes: &[u8]) -> bool {
    le32(bytes, 0).is_some_and(|length| matches!(length, 12 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Width and height as the header states them.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let bitmap = read(bytes).ok()?;
    Some((bitmap.width as u64, bitmap.height as u64))
}

/// Decodes a file.
pub fn decode(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    let bitmap = read(bytes)?;
    check_size(bitmap.width as u64, bitmap.height as u64)?;
    bitmap.decode(bytes, bitmap.height, torn)
}

fn read(bytes: &[u8]) -> Result<Bitmap, Refusal> {
    match bytes {
        [b'B', b'M', ..] => Bitmap::read(bytes, 14, le32(bytes, 10).unwrap_or(0)),
        _ => Bitmap::read(bytes, 0, 0),
    }
}

impl Bitmap {
    /// Reads the header at a place. `data` is where pixels begin, or 0 if they follow the palette.
    pub fn read(bytes: &[u8], at: usize, data: usize) -> Result<Bitmap, Refusal> {
        Bitmap::try_read(bytes, at, data).unwrap_or_else(|| Err("the BMP's header is truncated".into()))
    }

    fn try_read(bytes: &[u8], at: usize, mut data: usize) -> Option<Result<Bitmap, Refusal>> {
        let length = le32(bytes, at)?;
        let old = length == 12;
        if !matches!(length, 12 | 40 | 52 | 56 | 64 | 108 | 124) {
            return Some(Err(format!("it is a BMP with a header of {length} bytes, which can't be decoded").into()));
        }
        let top_down = !old && *bytes.get(at + 11)? == 0xff;
        let (width, mut height, bits) = match old {
            true => (le16(bytes, at + 4)?, le16(bytes, at + 6)?, le16(bytes, at + 10)?),
            false => (le32(bytes, at + 4)?, le32(bytes, at + 8)?, le16(bytes, at + 14)?),
        };
        if top_down {
            // The 32 bits are a negative number.
            height = (height as u32).wrapping_neg() as usize;
        }
        let compression = if old { 0 } else { le32(bytes, at + 16)? };
        let mut colours = if old { 0 } else { le32(bytes, at + 32)? };
        let refused = |what: String| Some(Err(format!("it is a BMP with {what}, which can't be decoded").into()));
        if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32) {
            return refused(format!("{bits} bits a pixel"));
        }
        let mut end = at + length;
        let mut masks = if bits == 16 { [0x7c00, 0x3e0, 0x1f] } else { [0xff_0000, 0xff00, 0xff] };
        match compression {
            0 => {}
            1 | 2 if bits <= 8 => {}
            3 if bits >= 16 => {
                let mut stated = [0; 3];
                for (i, mask) in stated.iter_mut().enumerate() {
                    *mask = le32(bytes, at + 40 + 4 * i)? as u32;
                }
                end += if length == 40 { 12 } else { 0 };
                masks = if stated == [0; 3] { masks } else { stated };
            }
            _ => return refused(format!("compression {compression}")),
        }
        if colours == 0 {
            colours = 1 << bits;
        }
        let entry = if old { 3 } else { 4 };
        if bits <= 8 && colours > 65_536 {
            return refused(format!("{colours} colours"));
        }
        if data == 14 + length && bits <= 8 {
            data += entry * colours;
        }
        let table = if bits <= 8 { entry * colours } else { 0 };
        let entries = bytes.get(end..bytes.len().min(end + table)).unwrap_or_default();
        let palette = match old {
            true => palette(entries, 0, |[b, g, r]: &[u8; 3]| [*r, *g, *b]),
            false => palette(entries, 0, |[b, g, r, _]: &[u8; 4]| [*r, *g, *b]),
        };
        let data = if data == 0 { end + table } else { data };
        let run_length = matches!(compression, 1 | 2);
        Some(Ok(Bitmap {
            width,
            height,
            bits: bits.max(if compression == 1 { 8 } else { 0 }),
            top_down,
            run_length,
            masks,
            palette,
            data,
        }))
    }

    /// The first `height` rows of what is stored. The caller has checked the size.
    pub fn decode(&self, bytes: &[u8], height: usize, torn: bool) -> Result<Decoded, Refusal> {
        let width = self.width;
        let rgb = if self.run_length {
            let indices = self.expand(bytes, width * height);
            indices.iter().flat_map(|index| self.palette[usize::from(*index)]).collect()
        } else {
            let stride = (width * self.bits).div_ceil(32) * 4;
            let row = |y: usize| {
                let start = self.data.checked_add(y * stride)?;
                bytes.get(start..start + (width * self.bits).div_ceil(8))
            };
            (0..height).map_while(row).flat_map(|row| (0..width).flat_map(|x| self.colour(row, x))).collect()
        };
        let mut decoded = whole(rgb, width, height, torn, "BMP")?;
        if !self.top_down {
            decoded.rgb = upside_down(&decoded.rgb, width);
        }
        Ok(decoded)
    }

    fn colour(&self, row: &[u8], x: usize) -> [u8; 3] {
        let pixel = match self.bits {
            16 => u32::from(row[2 * x]) | u32::from(row[2 * x + 1]) << 8,
            24 => u32::from_le_bytes([row[3 * x], row[3 * x + 1], row[3 * x + 2], 0]),
            32 => u32::from_le_bytes([row[4 * x], row[4 * x + 1], row[4 * x + 2], row[4 * x + 3]]),
            _ => return self.palette[usize::from(bits(row, self.bits, x))],
        };
        self.masks.map(|mask| match mask {
            0 => 0,
            _ => {
                let low = mask.trailing_zeros();
                (u64::from((pixel & mask) >> low) * 255 / u64::from(mask >> low)) as u8
            }
        })
    }

    /// Indices that are stored in runs; what follows the end of the data is missing.
    fn expand(&self, bytes: &[u8], count: usize) -> Vec<u8> {
        let (mut indices, mut at, mut x) = (Vec::new(), self.data, 0);
        let four = self.bits == 4;
        while indices.len() < count {
            let Some(&[run, value]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
            at += 2;
            match (run, value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(self.width), 0);
                    x = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let Some(&[right, up]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
                    at += 2;
                    let skipped = usize::from(right) + usize::from(up) * self.width;
                    indices.resize(count.min(indices.len() + skipped), 0);
                    x = indices.len() % self.width;
                }
                (0, literal) => {
                    let wanted = usize::from(literal).min(count - indices.len());
                    let stored = if four { wanted.div_ceil(2) } else { wanted };
                    let data = bytes.get(at..bytes.len().min(at + stored)).unwrap_or_default();
                    let first = indices.len();
                    match four {
                        true => indices.extend((0..wanted.min(2 * data.len())).map(|i| bits(data, 4, i))),
                        false => indices.extend(data),
                    }
                    if indices.len() < first + wanted {
                        break;
                    }
                    at += stored;
                    at += at % 2;
                    x += usize::from(literal);
                }
                (run, value) => {
                    let run = usize::from(run).min(self.width.saturating_sub(x));
                    indices.extend((0..run).map(|i| if four { bits(&[value], 4, i % 2) } else { value }));
                    x += run;
                }
            }
        }
        indices.truncate(count);
        indices
    }
}
