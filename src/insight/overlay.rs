//! Maps in colours, over an image.

use super::heatmap::Heatmap;
use crate::error::{Error, Result};
use crate::preprocess::Image;

/// The colours of the scale from the smallest to the largest value: 17 points of matplotlib's `inferno`, whose brightness
/// rises evenly.
const COLOURS: [[u8; 3]; 17] = [
    [0, 0, 4],
    [11, 7, 36],
    [33, 12, 74],
    [61, 9, 101],
    [87, 16, 110],
    [113, 25, 110],
    [138, 34, 106],
    [163, 44, 97],
    [188, 55, 84],
    [210, 70, 68],
    [228, 90, 49],
    [241, 115, 29],
    [249, 142, 9],
    [252, 172, 17],
    [249, 203, 53],
    [242, 234, 105],
    [252, 255, 164],
];

/// How much of a pixel is the map's colour; the rest is the image.
const OPACITY: f32 = 0.65;

impl Heatmap {
    /// An image with the map over it, each value where its patch is: bright is the map's largest value, dark its smallest. The
    /// image is what the model sees ([`seen`](super::seen)).
    ///
    /// # Errors
    /// [`Error::Argument`] for a map that does not have `rows · cols` values, or none.
    pub fn over(&self, seen: &Image) -> Result<Image> {
        let (rows, cols, count) = (self.rows, self.cols, self.values.len());
        if count == 0 || rows.checked_mul(cols) != Some(count) {
            return Err(Error::argument("map", format!("{count} values for {rows}x{cols} patches")));
        }
        let (height, width) = (seen.height(), seen.width());
        let (low, high) = self.range();
        let mut data = seen.data().to_vec();
        for (number, pixel) in data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = (number % width, number / width);
            let value = between(self, (y as f32 + 0.5) / height as f32, (x as f32 + 0.5) / width as f32);
            let of_map = colour(if high > low { (value - low) / (high - low) } else { 0.0 });
            *pixel = std::array::from_fn(|i| mix(f32::from(pixel[i]), f32::from(of_map[i]), OPACITY) as u8);
        }
        Image::from_rgb(width, height, data)
    }
}

/// The map's value at a place given as shares of height and width, linearly between the middles of patches.
fn between(map: &Heatmap, y: f32, x: f32) -> f32 {
    let place = |share: f32, count: usize| {
        let at = (share * count as f32 - 0.5).clamp(0.0, (count - 1) as f32);
        (at as usize, (at as usize + 1).min(count - 1), at.fract())
    };
    let ((y0, y1, dy), (x0, x1, dx)) = (place(y, map.rows), place(x, map.cols));
    let get = |y: usize, x: usize| map.values[y * map.cols + x];
    mix(mix(get(y0, x0), get(y0, x1), dx), mix(get(y1, x0), get(y1, x1), dx), dy)
}

/// The colour of a value from 0 to 1, from dark to bright; what lies outside has the colour of the nearer end.
#[must_use]
pub fn colour(share: f32) -> [u8; 3] {
    let at = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let (low, high) = (COLOURS[at as usize], COLOURS[(at as usize + 1).min(COLOURS.len() - 1)]);
    std::array::from_fn(|i| mix(f32::from(low[i]), f32::from(high[i]), at.fract()).round() as u8)
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_covers_its_image() {
        let map = Heatmap { rows: 1, cols: 2, values: vec![0.0, 1.0] };
        let over = map.over(&Image::from_rgb(4, 1, vec![100; 12]).unwrap()).unwrap();
        let of = |value: u8| mix(100.0, f32::from(value), OPACITY) as u8;
        assert_eq!(over.data()[..3], COLOURS[0].map(of));
        assert_eq!(over.data()[9..], COLOURS[16].map(of));
        let torn = Heatmap { rows: 2, ..map };
        assert!(torn.over(&over).is_err() && Heatmap { rows: 0, values: Vec::new(), ..torn }.over(&over).is_err());
    }

    #[test]
    fn the_middles_of_patches_have_their_values() {
        let map = Heatmap { rows: 2, cols: 3, values: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] };
        for (i, value) in map.values.iter().enumerate() {
            let (y, x) = ((i / 3) as f32 + 0.5, (i % 3) as f32 + 0.5);
            assert!((between(&map, y / 2.0, x / 3.0) - value).abs() < 1e-5);
        }
        assert_eq!(between(&map, 0.0, 0.0), 0.0);
        assert!((between(&map, 0.5, 0.5) - 2.5).abs() < 1e-5);
    }

    #[test]
    fn colours_go_from_dark_to_bright() {
        assert_eq!((colour(0.0), colour(1.0), colour(0.5)), ([0, 0, 4], [252, 255, 164], [188, 55, 84]));
        let light = |share| colour(share).iter().map(|c| u32::from(*c)).sum::<u32>();
        assert!((1..=64).all(|i| light(i as f32 / 64.0) >= light((i - 1) as f32 / 64.0)));
    }
}
