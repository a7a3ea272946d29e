//! A picture as its codec stores it: brightness and colour in planes of their own, the colour often at half the size.

use super::super::decoded::{Refusal, check_size};
use super::container::{Container, Grid};

/// Pixels of a tile that is not too large for a picture of any size.
const LARGEST_TILE: usize = 512 * 512;

/// One component of a picture.
#[derive(Clone)]
pub struct Plane {
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Rows from the top.
    pub samples: Vec<u16>,
}

impl Plane {
    fn new(width: usize, height: usize) -> Plane {
        Plane { width, height, samples: vec![0; width * height] }
    }

    /// A row of samples; the last one if there are fewer rows.
    pub fn row(&self, y: usize) -> &[u16] {
        &self.samples[y.min(self.height - 1) * self.width..][..self.width]
    }

    /// Copies another plane to a place in this one; what reaches beyond it is left out.
    fn paste(&mut self, other: &Plane, left: usize, top: usize) {
        let width = other.width.min(self.width.saturating_sub(left));
        let height = other.height.min(self.height.saturating_sub(top));
        for y in 0..height {
            let row = (top + y) * self.width + left;
            self.samples[row..][..width].copy_from_slice(&other.row(y)[..width]);
        }
    }

    /// The plane whose sample at (x, y) is this one's at `from(x, y)`.
    fn rearranged(&self, width: usize, height: usize, from: impl Fn(usize, usize) -> (usize, usize)) -> Plane {
        let place = |(x, y): (usize, usize)| self.samples[y * self.width + x];
        let samples = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| place(from(x, y)));
        Plane { width, height, samples: samples.collect() }
    }
}

/// The colours of samples, by their numbers in ITU-T H.273.
#[derive(Clone, Copy, PartialEq)]
pub struct Colours {
    /// The three colours of which others are mixed.
    pub primaries: u16,
    /// How brightness and colour were computed from red, green and blue.
    pub matrix: u16,
    /// Whether samples use all of their range; otherwise a part of it, as television does.
    pub full: bool,
}

/// A picture before its conversion to RGB.
pub struct Planes {
    /// Bits of a sample.
    pub depth: u32,
    /// The colours that the codec's own header gives, if it gives any.
    pub colours: Option<Colours>,
    /// By how many bits a colour's column and row are shifted from those of brightness.
    pub shifts: (u32, u32),
    /// Brightness alone, or brightness, blue and red.
    pub planes: Vec<Plane>,
}

impl Planes {
    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.planes[0].width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.planes[0].height
    }

    /// The size of a plane of a picture of this kind.
    fn size(&self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        let (x, y) = if plane == 0 { (0, 0) } else { self.shifts };
        (width.div_ceil(1 << x), height.div_ceil(1 << y))
    }

    /// The part of a picture that starts at (left, top).
    pub fn cropped(mut self, left: usize, top: usize, width: usize, height: usize) -> Planes {
        if (left, top, width, height) == (0, 0, self.width(), self.height()) {
            return self;
        }
        for index in 0..self.planes.len() {
            let (left, top) = if index == 0 { (left, top) } else { (left >> self.shifts.0, top >> self.shifts.1) };
            let (width, height) = self.size(index, width, height);
            let plane = &mut self.planes[index];
            let (width, height) = (width.min(plane.width - left), height.min(plane.height - top));
            *plane = plane.rearranged(width, height, |x, y| (left + x, top + y));
        }
        self
    }

    /// The picture with colours in its own size: a pixel has three quarters of the sample that it lies in and one of the
    /// sample next to it, along each axis.
    pub fn interpolated(mut self) -> Planes {
        let (width, height) = (self.width(), self.height());
        for plane in &mut self.planes[1..] {
            let mut wide = Plane::new(width, height);
            for (y, row) in wide.samples.chunks_mut(width).enumerate() {
                interpolate(plane, self.shifts, 0, y, row);
            }
            *plane = wide;
        }
        self.shifts = (0, 0);
        self
    }

    /// The picture turned against the clock by quarters.
    pub fn rotated(mut self, quarters: u8) -> Planes {
        if quarters % 2 == 1 {
            self.shifts = (self.shifts.1, self.shifts.0);
        }
        for plane in &mut self.planes {
            let (width, height) = (plane.width, plane.height);
            *plane = match quarters % 4 {
                0 => return self,
                1 => plane.rearranged(height, width, |x, y| (width - 1 - y, x)),
                2 => plane.rearranged(width, height, |x, y| (width - 1 - x, height - 1 - y)),
                _ => plane.rearranged(height, width, |x, y| (y, height - 1 - x)),
            };
        }
        self
    }

    /// The picture with left and right exchanged, or top and bottom.
    pub fn mirrored(mut self, sideways: bool) -> Planes {
        for plane in &mut self.planes {
            let (width, height) = (plane.width, plane.height);
            *plane = match sideways {
                true => plane.rearranged(width, height, |x, y| (width - 1 - x, y)),
                false => plane.rearranged(width, height, |x, y| (x, height - 1 - y)),
            };
        }
        self
    }
}

/// Fills a row of a picture with a colour's samples: three quarters of the sample in which a pixel lies and one of the sample
/// next to it, along each axis in which there are fewer samples than pixels. Samples lose their lowest `cut` bits first.
pub fn interpolate(plane: &Plane, (across, down): (u32, u32), cut: u32, y: usize, row: &mut [u16]) {
    // The sample in which a pixel lies, and the one next to it, which is the same beyond the edge.
    let pair = |at: usize, shift: u32, count: usize| match (shift, at % 2) {
        (0, _) => (at, at),
        (_, 0) => (at / 2, (at / 2).saturating_sub(1)),
        _ => (at / 2, (at / 2 + 1).min(count - 1)),
    };
    let (near, next) = pair(y, down, plane.height);
    let (near, next) = (plane.row(near), plane.row(next));
    for (x, value) in row.iter_mut().enumerate() {
        let (inside, beside) = pair(x, across, plane.width);
        let corners = [near[inside], near[beside], next[inside], next[beside]];
        let [a, b, c, d] = corners.map(|sample| u32::from(sample >> cut));
        *value = ((9 * a + 3 * b + 3 * c + d + 8) / 16) as u16;
    }
}

/// Decodes an item, which is a picture or a grid of pictures. `one` decodes a single picture of a given size.
pub fn decode(
    container: &Container,
    item: u32,
    one: impl Fn(u32, (usize, usize)) -> Result<Planes, Refusal>,
) -> Result<Planes, Refusal> {
    let single = |item| {
        let (width, height) = container.size(item)?;
        check_size(width as u64, height as u64)?;
        one(item, (width, height))
    };
    if container.kind(item) != Some(b"grid") {
        return single(item);
    }
    let Grid { rows, columns, width, height, tiles } = container.grid(item)?;
    check_size(width as u64, height as u64)?;
    // Memory is estimated from the size that the properties of the whole picture give.
    let declared =
        [container.size(item)?, container.size(tiles[0])?].map(|(width, height)| width.saturating_mul(height));
    if container.size(item)? != (width, height) || declared[1] > 4 * (declared[0] + LARGEST_TILE) {
        return Err("the sizes of its grid, its tiles and itself don't fit".into());
    }
    let first = single(tiles[0])?;
    let tile = (first.width(), first.height());
    // No tile lies outside of the picture, so that all of them together are not much larger than it.
    let fits = |count: usize, tile: usize, whole: usize| (count - 1) * tile < whole && whole <= count * tile;
    if !fits(columns, tile.0, width) || !fits(rows, tile.1, height) {
        return Err("its tiles don't fit its size".into());
    }
    let mut whole = Planes { planes: Vec::new(), ..first };
    for plane in 0..first.planes.len() {
        let (width, height) = whole.size(plane, width, height);
        whole.planes.push(Plane::new(width, height));
    }
    for (index, &item) in tiles.iter().enumerate() {
        let other;
        let planes = match index {
            0 => &first.planes,
            _ => {
                other = single(item)?;
                let same =
                    (other.depth, other.shifts, other.planes.len()) == (first.depth, first.shifts, first.planes.len());
                if !same || (other.width(), other.height()) != tile {
                    return Err("its tiles differ in size or format".into());
                }
                &other.planes
            }
        };
        let (left, top) = (index % columns * tile.0, index / columns * tile.1);
        for (number, (plane, tile)) in whole.planes.iter_mut().zip(planes).enumerate() {
            let (x, y) = if number == 0 { (0, 0) } else { first.shifts };
            plane.paste(tile, left >> x, top >> y);
        }
    }
    Ok(whole)
}
