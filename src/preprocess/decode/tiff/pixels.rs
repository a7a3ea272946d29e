//! Samples to RGB, as Pillow unpacks them and then converts to RGB.

use super::directory::{Directory, tag};
use super::kind::{Colour, Kind, Number};
use super::lab;
use super::ycbcr::Table;
use crate::preprocess::decode::colours::from_inks;
use crate::preprocess::decode::decoded::Refusal;

/// What turns rows of samples into rows of RGB.
pub struct Unpacker {
    kind: Kind,
    little: bool,
    palette: Vec<[u8; 3]>,
    table: Option<Table>,
    lab: Option<lab::Converter>,
}

impl Unpacker {
    /// For a picture of this kind. `table` converts YCbCr.
    pub fn new(directory: &Directory, kind: Kind, planar: bool, table: Option<Table>) -> Result<Unpacker, Refusal> {
        let palette = if kind.colour == Colour::Palette { palette(directory)? } else { Vec::new() };
        let lab = (kind.colour == Colour::Lab).then(|| lab::Converter::new(planar));
        Ok(Unpacker { kind, little: directory.little, palette, table, lab })
    }

    /// Writes a row of pixels, three bytes each.
    pub fn row(&self, samples: &[u8], out: &mut [u8]) {
        let (pixels, _) = out.as_chunks_mut::<3>();
        let Kind { colour, bits, samples: count, .. } = self.kind;
        match colour {
            Colour::Grey if bits < 8 => {
                let scale = 255 / ((1 << bits) - 1);
                each_small(samples, bits, pixels, |value| [value * scale; 3]);
            }
            Colour::InvertedGrey if bits < 8 => {
                let scale = 255 / ((1 << bits) - 1);
                each_small(samples, bits, pixels, |value| [255 - value * scale; 3]);
            }
            Colour::Palette if bits < 8 => each_small(samples, bits, pixels, |value| self.in_palette(value)),
            Colour::Grey => each(samples, count, pixels, |pixel| [pixel[0]; 3]),
            Colour::InvertedGrey => each(samples, count, pixels, |pixel| [255 - pixel[0]; 3]),
            Colour::Palette => each(samples, count, pixels, |pixel| self.in_palette(pixel[0])),
            Colour::Clipped(number) => self.clipped(samples, number, pixels),
            // Of 16 bits the upper eight are taken.
            _ => {
                let size = bits / 8;
                let high = if self.little { size - 1 } else { 0 };
                each(samples, count * size, pixels, |pixel| self.colours(|i| pixel[i * size + high]));
            }
        }
    }

    /// A pixel of several samples.
    fn colours(&self, sample: impl Fn(usize) -> u8) -> [u8; 3] {
        let three = [sample(0), sample(1), sample(2)];
        match (self.kind.colour, &self.table, &self.lab) {
            (Colour::Premultiplied, ..) => match sample(3) {
                0 => [0; 3],
                alpha => three.map(|colour| (u32::from(colour) * 255 / u32::from(alpha)).min(255) as u8),
            },
            (Colour::Cmyk, ..) => from_inks(three, sample(3)),
            (Colour::YCbCr, Some(table), _) => table.rgb(three),
            (Colour::Lab, _, Some(lab)) => lab.rgb(three),
            _ => three,
        }
    }

    fn in_palette(&self, index: u8) -> [u8; 3] {
        self.palette.get(usize::from(index)).copied().unwrap_or([0; 3])
    }

    /// Large samples are cut to a byte.
    fn clipped(&self, samples: &[u8], number: Number, pixels: &mut [[u8; 3]]) {
        let ordered = |bytes: &[u8]| {
            let mut ordered = [0u8; 4];
            let size = bytes.len();
            for (i, byte) in bytes.iter().enumerate() {
                ordered[if self.little { i } else { size - 1 - i }] = *byte;
            }
            u32::from_le_bytes(ordered)
        };
        let grey = |value: i64| [value.clamp(0, 255) as u8; 3];
        match (number, self.kind.bits) {
            (Number::Unsigned, 12) => {
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    let at = i / 2 * 3;
                    let byte = |i: usize| i64::from(samples.get(at + i).copied().unwrap_or(0));
                    *pixel = grey(match i % 2 {
                        0 => byte(0) << 4 | byte(1) >> 4,
                        _ => (byte(1) & 15) << 8 | byte(2),
                    });
                }
            }
            (Number::Unsigned, _) => each(samples, 2, pixels, |bytes| grey(ordered(bytes).into())),
            (Number::Signed, 16) => each(samples, 2, pixels, |bytes| grey((ordered(bytes) as u16 as i16).into())),
            (Number::Signed, _) => each(samples, 4, pixels, |bytes| grey((ordered(bytes) as i32).into())),
            (Number::Float, _) => each(samples, 4, pixels, |bytes| [f32::from_bits(ordered(bytes)) as u8; 3]),
        }
    }
}

/// Converts each pixel of `size` bytes.
fn each(samples: &[u8], size: usize, pixels: &mut [[u8; 3]], convert: impl Fn(&[u8]) -> [u8; 3]) {
    for (pixel, bytes) in pixels.iter_mut().zip(samples.chunks_exact(size)) {
        *pixel = convert(bytes);
    }
}

/// Converts each pixel of 1, 2 or 4 bits.
fn each_small(samples: &[u8], bits: usize, pixels: &mut [[u8; 3]], convert: impl Fn(u8) -> [u8; 3]) {
    let per_byte = 8 / bits;
    for (pixels, byte) in pixels.chunks_mut(per_byte).zip(samples) {
        for (i, pixel) in pixels.iter_mut().enumerate() {
            *pixel = convert((byte << (i * bits)) >> (8 - bits));
        }
    }
}

/// The colour map: all reds, then all greens, then all blues, of which Pillow takes the upper bytes.
fn palette(directory: &Directory) -> Result<Vec<[u8; 3]>, Refusal> {
    let Some(map) = directory.numbers(tag::COLOUR_MAP) else {
        return Err("it is a TIFF with a palette, but the palette is missing".into());
    };
    let count = map.len() / 3;
    if count > 256 {
        return Err("it is a TIFF whose palette has more than 256 colours".into());
    }
    let colour = |i: usize| [i, count + i, 2 * count + i].map(|i| (map.get(i).unwrap_or(0) >> 8).min(255) as u8);
    Ok((0..count).map(colour).collect())
}
