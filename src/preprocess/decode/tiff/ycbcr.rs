//! YCbCr to RGB, in two of the three ways that Pillow's readers of TIFF have: libtiff's for compressed samples, and Pillow's own for
//! samples that are stored as they are. JPEG has libjpeg's.

use super::directory::{Directory, tag};
use crate::preprocess::decode::decoded::Refusal;

/// Samples are converted by tables: what each value of a sample adds to a colour.
pub struct Table {
    luma: [i32; 256],
    red: [i32; 256],
    blue: [i32; 256],
    /// Green's parts are added before they are shifted.
    green: [[i32; 256]; 2],
    shift: u32,
}

impl Table {
    /// Pillow's conversion: six bits of fraction.
    pub fn of_pillow() -> Table {
        let part = |factor: f64| std::array::from_fn(|i| (factor * 64.0 * (i as f64 - 128.0) + 0.5) as i32);
        Table {
            luma: std::array::from_fn(|i| i as i32),
            red: part(1.402).map(|value: i32| value >> 6),
            blue: part(1.772).map(|value: i32| value >> 6),
            green: [part(-0.34414), part(-0.71414)],
            shift: 6,
        }
    }

    /// libtiff's conversion, by the file's weights of the colours and its values of black and white.
    pub fn of_libtiff(directory: &Directory) -> Result<Table, Refusal> {
        let reals = |tag, count: usize, otherwise: &[f32]| {
            let given = directory.reals(tag).filter(|given| given.len() >= count);
            given.unwrap_or_else(|| otherwise.to_vec())
        };
        let weights = reals(tag::YCBCR_COEFFICIENTS, 3, &[0.299, 0.587, 0.114]);
        let range = reals(tag::REFERENCE_BLACK_WHITE, 6, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let (red, green, blue) = (weights[0], weights[1], weights[2]);
        let sane = |value: &f32| value.abs() < 2f32.powi(30);
        if green == 0.0 || weights.iter().any(|weight| weight.is_nan()) || !range.iter().all(sane) {
            return Err("it is a TIFF whose numbers for YCbCr colours are not valid".into());
        }
        // The value of a code, where those of black and white are known, limited to what no sane file exceeds.
        let value = |code: i32, black: f32, white: f32, full: f32| {
            let span = if white == black { 1.0 } else { white - black };
            ((code - black as i32) as f32 * full / span).clamp(-4096.0, 4096.0) as i32
        };
        let fixed = |factor: f32| (f64::from(if factor >= 0.0 { factor.min(2.0) } else { 0.0 }) * 65536.0 + 0.5) as i32;
        let (from_red, from_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let chroma = |i: usize, at: usize| value(i as i32 - 128, range[at] - 128.0, range[at + 1] - 128.0, 127.0);
        let part = |factor: f32, at: usize| -> [i32; 256] {
            std::array::from_fn(|i| (fixed(factor) * chroma(i, at) + (1 << 15)) >> 16)
        };
        Ok(Table {
            luma: std::array::from_fn(|i| value(i as i32, range[0], range[1], 255.0)),
            red: part(from_red, 4),
            blue: part(from_blue, 2),
            green: [
                std::array::from_fn(|i| -fixed(blue * from_blue / green) * chroma(i, 2) + (1 << 15)),
                std::array::from_fn(|i| -fixed(red * from_red / green) * chroma(i, 4)),
            ],
            shift: 16,
        })
    }

    /// The colour of a pixel.
    pub fn rgb(&self, [luma, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (cb, cr) = (usize::from(cb), usize::from(cr));
        let luma = self.luma[usize::from(luma)];
        let green = (self.green[0][cb] + self.green[1][cr]) >> self.shift;
        [luma + self.red[cr], luma + green, luma + self.blue[cb]].map(|colour| colour.clamp(0, 255) as u8)
    }
}

/// How many columns and rows of pixels share their chromas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsampling {
    pub across: usize,
    pub down: usize,
}

impl Subsampling {
    /// What the directory says. Without a word it is two by two.
    pub fn read(directory: &Directory) -> Option<Subsampling> {
        let given = directory.numbers(tag::YCBCR_SUBSAMPLING).map_or_else(|| vec![2, 2], |numbers| numbers.first(2));
        match given[..] {
            [across @ (1 | 2 | 4), down @ (1 | 2 | 4)] if down <= across || (across, down) == (1, 2) => {
                Some(Subsampling { across: across as usize, down: down as usize })
            }
            _ => None,
        }
    }

    /// Bytes of the samples of as many rows as share their chromas: groups of lumas, each followed by its two chromas.
    pub fn row_bytes(self, width: usize) -> Option<usize> {
        width.div_ceil(self.across).checked_mul(self.across * self.down + 2)
    }

    /// The samples of a pixel of a block.
    pub fn pixel(self, block: &[u8], row_bytes: usize, x: usize, y: usize) -> [u8; 3] {
        let lumas = self.across * self.down;
        let group = y / self.down * row_bytes + x / self.across * (lumas + 2);
        let luma = group + y % self.down * self.across + x % self.across;
        [block[luma], block[group + lumas], block[group + lumas + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_grey_and_colours_are_clipped() {
        let table = Table::of_pillow();
        for luma in [0, 1, 127, 255] {
            assert_eq!(table.rgb([luma, 128, 128]), [luma; 3]);
        }
        assert_eq!(table.rgb([255, 255, 255]), [255, 120, 255]);
        assert_eq!(table.rgb([76, 85, 255]), [254, 0, 0]);
    }

    #[test]
    fn pixels_of_a_group_share_their_chromas() {
        let subsampling = Subsampling { across: 2, down: 2 };
        assert_eq!(subsampling.row_bytes(3), Some(12));
        let block: Vec<u8> = (0..24).collect();
        assert_eq!(subsampling.pixel(&block, 12, 0, 0), [0, 4, 5]);
        assert_eq!(subsampling.pixel(&block, 12, 1, 1), [3, 4, 5]);
        assert_eq!(subsampling.pixel(&block, 12, 2, 3), [20, 22, 23]);
    }
}
