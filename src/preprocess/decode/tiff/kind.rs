//! What the pixels of a TIFF are, for every combination of tags that Pillow accepts.

use super::directory::{Directory, tag};
use crate::preprocess::decode::decoded::Refusal;

/// What the samples of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// One sample from black to white, scaled to eight bits.
    Grey,
    /// One sample from white to black.
    InvertedGrey,
    /// One sample that is cut to 0..255, whatever its range: what Pillow does with more than eight bits.
    Clipped(Number),
    /// One index into the colour map.
    Palette,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, all multiplied by the fourth sample.
    Premultiplied,
    /// Cyan, magenta, yellow, black.
    Cmyk,
    /// Luma and two chromas.
    YCbCr,
    /// Lightness, a and b of CIE 1976.
    Lab,
}

/// How a sample of more than eight bits is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Without a sign: 12 or 16 bits.
    Unsigned,
    /// With a sign: 16 or 32 bits. Pillow reads 32 bits without a sign as if they had one.
    Signed,
    /// A float of 32 bits.
    Float,
}

/// What a pixel is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What the first samples mean. Samples beyond them are passed over.
    pub colour: Colour,
    /// How many samples a pixel has.
    pub samples: usize,
    /// Bits of each sample.
    pub bits: usize,
    /// Whether there is alpha, which counts where Pillow reads planes.
    pub alpha: bool,
    /// Whether the file states samples beyond the colours. libtiff takes those of which nothing is known as such samples.
    pub extra_stated: bool,
}

/// What the tags say about pixels, after Pillow's repairs.
struct Stated {
    photometric: u64,
    format: u64,
    bits: Vec<u64>,
    extra: Vec<u64>,
    fill_order: u64,
    little: bool,
}

/// The most samples of a pixel in Pillow's table.
const MOST_SAMPLES: u64 = 6;

impl Kind {
    /// What the directory says about the pixels, or why that is not read.
    pub fn read(directory: &Directory, old_jpeg: bool) -> Result<Kind, Refusal> {
        let stated = Stated::read(directory, old_jpeg)?;
        stated.kind().ok_or_else(|| format!("it is a TIFF with {}, which can't be decoded", stated.in_words()).into())
    }

    /// How many samples come before those that Pillow passes over: the planes that it reads.
    pub fn bands(&self) -> usize {
        let colours = match self.colour {
            Colour::Grey | Colour::InvertedGrey | Colour::Clipped(_) | Colour::Palette => 1,
            Colour::Rgb | Colour::YCbCr | Colour::Lab => 3,
            Colour::Premultiplied => return 4,
            Colour::Cmyk => 4,
        };
        colours + usize::from(self.alpha)
    }
}

impl Stated {
    fn read(directory: &Directory, old_jpeg: bool) -> Result<Stated, Refusal> {
        let number = |tag, otherwise| directory.number(tag).unwrap_or(otherwise);
        let list = |tag| directory.numbers(tag).map(|numbers| numbers.first(20));
        let photometric = if old_jpeg { 6 } else { number(tag::PHOTOMETRIC, 0) };
        let mut bits = list(tag::BITS_PER_SAMPLE).unwrap_or_else(|| vec![1]);
        let mut extra = list(tag::EXTRA_SAMPLES).unwrap_or_default();
        let mut samples = number(tag::SAMPLES_PER_PIXEL, if old_jpeg { 3 } else { 1 });
        // Planes of which nothing is known are left out.
        if number(tag::PLANAR_CONFIGURATION, 1) == 2 && !extra.is_empty() && extra.iter().all(|kind| *kind == 0) {
            bits.truncate(bits.len().saturating_sub(extra.len()));
            samples = samples.saturating_sub(extra.len() as u64);
            extra.clear();
        }
        if samples > MOST_SAMPLES {
            return Err(format!("it is a TIFF with {samples} samples a pixel, which can't be decoded").into());
        }
        match (bits.len() as u64, bits.first()) {
            (have, _) if have > samples => bits.truncate(samples as usize),
            (1, Some(&one)) => bits = vec![one; samples as usize],
            _ => {}
        }
        if bits.len() as u64 != samples {
            return Err(format!("it is a TIFF that states {} sizes for {samples} samples a pixel", bits.len()).into());
        }
        let formats = list(tag::SAMPLE_FORMAT).unwrap_or_else(|| vec![1]);
        let format = formats[0];
        if formats.iter().any(|other| *other != format) {
            return Err("it is a TIFF whose samples are of different types, which can't be decoded".into());
        }
        let fill_order = number(tag::FILL_ORDER, 1);
        Ok(Stated { photometric, format, bits, extra, fill_order, little: directory.little })
    }

    /// Pillow's table of what it reads. Samples beyond the colours are 0 (nothing is known of them), 1 (premultiplied alpha) or
    /// 2 (alpha); an old program wrote 999 for alpha.
    fn kind(&self) -> Option<Kind> {
        const UNSIGNED: u64 = 1;
        const SIGNED: u64 = 2;
        const FLOAT: u64 = 3;
        let (little, reversed) = (self.little, self.fill_order == 2);
        if self.fill_order != 1 && !reversed {
            return None;
        }
        let bits = &self.bits[..];
        let colour = match (self.photometric, self.format, bits, &self.extra[..]) {
            (0, UNSIGNED, [1 | 2 | 4 | 8], []) => Colour::InvertedGrey,
            (1, UNSIGNED, [1 | 2 | 4 | 8], []) => Colour::Grey,
            (1, UNSIGNED, [16], []) if little => Colour::Clipped(Number::Unsigned),
            (2, UNSIGNED, [8, 8, 8], []) => Colour::Rgb,
            (3, UNSIGNED, [1 | 2 | 4 | 8], []) => Colour::Palette,
            // Everything else has its bits in the usual order.
            _ if reversed => return None,
            // These are not inverted, as Pillow does not.
            (0, UNSIGNED, [16], []) if little => Colour::Clipped(Number::Unsigned),
            (0, FLOAT, [32], []) => Colour::Clipped(Number::Float),
            (1, SIGNED, [8], []) => Colour::Grey,
            (1, UNSIGNED, [12], []) if little => Colour::Clipped(Number::Unsigned),
            (1, UNSIGNED, [16], []) => Colour::Clipped(Number::Unsigned),
            (1, SIGNED, [16 | 32], []) => Colour::Clipped(Number::Signed),
            (1, UNSIGNED, [32], []) if little => Colour::Clipped(Number::Signed),
            (1, FLOAT, [32], []) => Colour::Clipped(Number::Float),
            (1, UNSIGNED, [8, 8], [0 | 2]) => Colour::Grey,
            (2, UNSIGNED, [8, 8, 8, 8] | [16, 16, 16, 16], [] | [0] | [2]) => Colour::Rgb,
            (2, UNSIGNED, [8, 8, 8, 8], [999]) => Colour::Rgb,
            (2, UNSIGNED, [8, 8, 8, 8] | [16, 16, 16, 16], [1]) => Colour::Premultiplied,
            (2, UNSIGNED, [8, 8, 8, 8, 8], [0 | 2, 0]) => Colour::Rgb,
            (2, UNSIGNED, [8, 8, 8, 8, 8], [1, 0]) => Colour::Premultiplied,
            (2, UNSIGNED, [8, 8, 8, 8, 8, 8], [0 | 2, 0, 0]) => Colour::Rgb,
            (2, UNSIGNED, [8, 8, 8, 8, 8, 8], [1, 0, 0]) => Colour::Premultiplied,
            (2, UNSIGNED, [16, 16, 16], []) => Colour::Rgb,
            (3, UNSIGNED, [8, 8], [0 | 2]) => Colour::Palette,
            (5, UNSIGNED, [8, 8, 8, 8] | [16, 16, 16, 16], []) => Colour::Cmyk,
            (5, UNSIGNED, [8, 8, 8, 8, 8], [0]) => Colour::Cmyk,
            (5, UNSIGNED, [8, 8, 8, 8, 8, 8], [0, 0]) => Colour::Cmyk,
            (6, UNSIGNED, [8], []) => Colour::Grey,
            (6, UNSIGNED, [8, 8, 8], []) => Colour::YCbCr,
            (8, UNSIGNED, [8, 8, 8], []) => Colour::Lab,
            _ => return None,
        };
        let alpha = match self.extra.first() {
            Some(kind) => matches!(kind, 2 | 999),
            None => self.photometric == 2 && bits.len() == 4,
        };
        Some(Kind { colour, samples: bits.len(), bits: bits[0] as usize, alpha, extra_stated: !self.extra.is_empty() })
    }

    /// What the file has, for a refusal.
    fn in_words(&self) -> String {
        let colours = match self.photometric {
            0 | 1 => "grey",
            2 => "red, green and blue",
            3 => "palette",
            4 => "transparency mask",
            5 => "ink (CMYK)",
            6 => "YCbCr",
            8 => "CIELab",
            9 => "ICCLab",
            10 => "ITULab",
            32803 => "camera sensor (CFA)",
            32844 | 32845 => "LogLuv",
            34892 => "linear camera (DNG)",
            _ => "unknown",
        };
        let numbers = match self.format {
            1 => "",
            2 => "signed ",
            3 => "floating-point ",
            5 | 6 => "complex ",
            _ => "untyped ",
        };
        let extra = match &self.extra[..] {
            [] => String::new(),
            [1] => ", the last of them premultiplied alpha".into(),
            extra => format!(", {} of them beyond the colours", extra.len()),
        };
        let mut sizes = self.bits.clone();
        sizes.dedup();
        let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
        let order = match (self.fill_order, self.little) {
            (1, true) => "",
            (1, false) => ", in big-endian order",
            _ => ", with the bits of each byte in reverse order",
        };
        let (count, sizes) = (self.bits.len(), sizes.join(" and "));
        let plural = if count == 1 { "sample" } else { "samples" };
        format!("{colours} pixels of {count} {numbers}{plural} of {sizes} bits{extra}{order}")
    }
}
