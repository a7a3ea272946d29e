//! CIELab to sRGB, as Pillow has Little CMS do it: the conversion is computed at the nodes of a grid, with 16 bits, and every other
//! colour is interpolated between four nodes. So this gives the same colours, also where sRGB does not have them.

/// Nodes on each side of the grid.
const NODES: usize = 33;
/// The white of the light D50, to which profiles refer.
const WHITE: [f64; 3] = [0.9642, 1.0, 0.8249];
/// The largest number of the encoding that profiles use for XYZ.
const LARGEST: f64 = 1.0 + 32767.0 / 32768.0;
/// From XYZ under D50, in that encoding, to the linear light of sRGB's primaries (adapted to D50 by Bradford's method).
const TO_SRGB: [[f64; 3]; 3] = [
    [6.268277080696409, -3.2343685646958, -0.9813731532183343],
    [-1.957467139347447, 3.8322017178972487, 0.06686577801362029],
    [0.14392565943970462, -0.45798075856798326, 2.811464565593521],
];

/// Converts colours of eight bits a sample.
pub struct Converter {
    grid: Vec<[u16; 3]>,
    /// What is turned in a and b: their sign bit, or nothing.
    turned: u8,
}

impl Converter {
    /// Where the samples lie in planes, Pillow forgets that a and b have signs.
    pub fn new(planar: bool) -> Converter {
        let node = |i: usize| f64::from((((i * 65535) as f64 / (NODES - 1) as f64 + 0.5).floor() / 65535.0) as f32);
        let sides = || 0..NODES;
        let points = sides().flat_map(|l| sides().flat_map(move |a| sides().map(move |b| [l, a, b])));
        let grid = points.map(|point| srgb(point.map(node))).collect();
        Converter { grid, turned: if planar { 0 } else { 0x80 } }
    }

    /// The colour of a pixel.
    pub fn rgb(&self, [lightness, a, b]: [u8; 3]) -> [u8; 3] {
        // Where the colour lies: a node, and 16 bits of the way to the next one on each axis.
        let places = [lightness, a ^ self.turned, b ^ self.turned].map(|sample| {
            let scaled = u32::from(sample) * 257 * (NODES as u32 - 1);
            scaled + (scaled + 0x7fff) / 0xffff
        });
        let steps = [NODES * NODES, NODES, 1];
        let mut at: usize = (0..3).map(|axis| (places[axis] >> 16) as usize * steps[axis]).sum();
        let mut axes = [0, 1, 2];
        axes.sort_by_key(|axis| std::cmp::Reverse(places[*axis] & 0xffff));
        // From there to the opposite node, along the axes with the longest way first.
        let start = self.grid[at];
        let mut sums = [0x8001i64; 3];
        for axis in axes {
            let way = i64::from(places[axis] & 0xffff);
            if way == 0 {
                break;
            }
            let (from, to) = (self.grid[at], self.grid[at + steps[axis]]);
            at += steps[axis];
            for ((sum, from), to) in sums.iter_mut().zip(from).zip(to) {
                *sum += (i64::from(to) - i64::from(from)) * way;
            }
        }
        std::array::from_fn(|i| {
            let value = i64::from(start[i]) + ((sums[i] + (sums[i] >> 16)) >> 16);
            ((value * 65281 + (1 << 23)) >> 24) as u8
        })
    }
}

/// A colour of the grid, whose coordinates are from 0 to 1. Every step rounds to 32 bits.
fn srgb([lightness, a, b]: [f64; 3]) -> [u16; 3] {
    let rounded = |value: f64| f64::from(value as f32);
    let y = (lightness * 100.0 + 16.0) / 116.0;
    let (x, z) = (y + 0.002 * (a * 255.0 - 128.0), y - 0.005 * (b * 255.0 - 128.0));
    let cubed = |t: f64| if t <= 24.0 / 116.0 { (108.0 / 841.0) * (t - 16.0 / 116.0) } else { t * t * t };
    let xyz: [f64; 3] = std::array::from_fn(|i| rounded(cubed([x, y, z][i]) * WHITE[i] / LARGEST));
    TO_SRGB.map(|row| {
        let linear = rounded(row.iter().zip(xyz).map(|(factor, value)| factor * value).sum());
        let power = linear.max(0.0).powf(1.0 / 2.4);
        // sRGB's curve, from where its two parts meet.
        let meet = ((0.04045f64 + 0.055) / 1.055).powf(2.4);
        let coded = if linear >= meet { power * 1.055 - 0.055 } else { linear * 12.92 };
        (rounded(coded) * 65535.0 + 0.5).floor().clamp(0.0, 65535.0) as u16
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lightness, a and b with 128 for grey, and what Pillow makes of them.
    const COLOURS: [([u8; 3], [u8; 3]); 9] = [
        ([55, 83, 53], [0, 71, 168]),
        ([116, 98, 96], [0, 123, 161]),
        ([92, 215, 177], [200, 0, 17]),
        ([183, 4, 77], [0, 223, 255]),
        ([134, 105, 205], [108, 135, 0]),
        ([255, 255, 255], [255, 67, 0]),
        ([0, 255, 0], [0, 0, 196]),
        ([128, 128, 128], [119, 119, 119]),
        ([200, 140, 60], [143, 191, 255]),
    ];

    #[test]
    fn colours_are_those_of_little_cms() {
        let lab = Converter::new(false);
        // The samples of a and b have signs: 0 is grey.
        assert_eq!(lab.rgb([255, 0, 0]), [254, 255, 254]);
        for (colour, want) in COLOURS {
            assert_eq!(lab.rgb([colour[0], colour[1] ^ 0x80, colour[2] ^ 0x80]), want, "{colour:?}");
            assert_eq!(Converter::new(true).rgb(colour), want, "{colour:?}");
        }
    }
}
