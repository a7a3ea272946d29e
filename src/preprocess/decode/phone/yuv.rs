//! The conversion of libyuv, which libavif uses for the frequent matrices: whole numbers with 6 bits after the point.

use super::planes::{Colours, Plane, Planes, interpolate};

/// The numbers of one matrix and range.
#[derive(Clone, Copy)]
pub struct Constants {
    /// What a sample of brightness is multiplied by, in 65536ths of a sample of 16 bits.
    scale: i32,
    /// What is added to brightness.
    offset: i32,
    /// What blue has of the blue difference, green of both, red of the red one.
    shares: [i32; 4],
}

impl Constants {
    /// The numbers for some colours, if libyuv has them.
    pub fn of(colours: Colours) -> Option<Constants> {
        let matrix = match (colours.matrix, colours.primaries) {
            (12, 1 | 2) => 1,
            (12, 5 | 6) => 6,
            (12, 9) => 9,
            (matrix, _) => matrix,
        };
        // Blue's share has 8 bits and a sign, which cuts it off at 128.
        let shares = match (matrix, colours.full) {
            (2 | 5 | 6, true) => [113, 22, 46, 90],
            (1, true) => [119, 12, 30, 101],
            (9, true) => [120, 11, 37, 94],
            (2 | 5 | 6, false) => [128, 25, 52, 102],
            (1, false) => [128, 14, 34, 115],
            (9, false) => [128, 12, 42, 107],
            _ => return None,
        };
        let (scale, offset) = match (colours.full, matrix) {
            (true, _) => (16320, 32),
            (false, 9) => (19003, -1160),
            (false, _) => (18997, -1160),
        };
        Some(Constants { scale, offset, shares })
    }

    /// Brightness, from a sample of 16 bits.
    fn brightness(&self, sample: u32) -> i32 {
        ((i64::from(sample) * i64::from(self.scale)) >> 16) as i32 + self.offset
    }

    /// Red, green and blue, from brightness of 16 bits and colours of 8.
    fn pixel(&self, brightness: u32, blue: i32, red: i32) -> [u8; 3] {
        let (brightness, blue, red) = (self.brightness(brightness), blue - 128, red - 128);
        let [blue_blue, green_blue, green_red, red_red] = self.shares;
        let mixed = [red_red * red, -green_blue * blue - green_red * red, blue_blue * blue];
        mixed.map(|share| ((brightness + share) >> 6).clamp(0, 255) as u8)
    }

    /// The grey of a sample of 8 bits.
    pub fn grey(&self, sample: u16) -> u8 {
        (self.brightness(u32::from(sample) * 0x101) >> 6).clamp(0, 255) as u8
    }

    /// Converts a picture of three planes. Samples are cut to 8 bits first, unless the picture has alpha and libyuv has a
    /// conversion of its own for their depth.
    pub fn rgb(&self, picture: &Planes, alpha: bool) -> Vec<u8> {
        let (width, height, depth) = (picture.width(), picture.height(), picture.depth);
        let nearest = alpha && depth == 12 && picture.shifts == (1, 1);
        let deep = nearest || alpha && depth == 10;
        let cut = if deep { 0 } else { depth - 8 };
        let depth = depth - cut;
        // What remains to be cut off from colours.
        let rest = depth - 8;
        let [brightness, blue, red] = &picture.planes[..] else { unreachable!("a picture with colours") };
        let mut rgb = Vec::with_capacity(width * height * 3);
        let mut rows = [vec![0; width], vec![0; width]];
        for y in 0..height {
            for (plane, row) in [blue, red].into_iter().zip(&mut rows) {
                let (across, down) = picture.shifts;
                if nearest {
                    let samples = plane.row(y >> down);
                    row.iter_mut().enumerate().for_each(|(x, value)| *value = samples[x >> across]);
                    continue;
                }
                interpolate(plane, picture.shifts, cut, y, row);
                // libyuv leaves a last pixel without a partner as it is.
                if across == 1 && width % 2 == 1 {
                    row[width - 1] = end(plane, down, cut, y);
                }
            }
            for (x, &sample) in brightness.row(y).iter().enumerate() {
                let sample = u32::from(sample >> cut);
                let sixteen = sample << (16 - depth) | sample >> (2 * depth - 16);
                let [blue, red] = [rows[0][x], rows[1][x]].map(|sample| i32::from(sample >> rest).min(255));
                rgb.extend(self.pixel(sixteen, blue, red));
            }
        }
        rgb
    }
}

/// The last sample of a row, interpolated between rows only.
fn end(plane: &Plane, down: u32, cut: u32, y: usize) -> u16 {
    let last = |row: usize| u32::from(plane.row(row)[plane.width - 1] >> cut);
    let inside = last(y >> down);
    let beside = match (down, y % 2) {
        (0, _) => inside,
        (_, 0) => last((y / 2).saturating_sub(1)),
        _ => last(y / 2 + 1),
    };
    ((3 * inside + beside + 2) / 4) as u16
}
