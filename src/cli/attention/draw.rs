//! Maps over an image, with a legend.

use vit_gpu::Image;
use vit_gpu::insight::Heatmap;
use vit_gpu::internals::preprocess::{Filter, Pixels, Resize, Resizer, Transform, resize};

use super::Maps;
use super::canvas::{CHARACTER, Canvas};

/// A map, with its name where there are several.
pub struct Panel {
    pub name: String,
    pub map: Heatmap,
}

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
/// The shorter side of an image that is drawn alone, and of one of many.
const ALONE: usize = 448;
const OF_MANY: usize = 112;
/// Space between panels.
const GAP: usize = 8;
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [32; 3];

/// The PNG of an image as the model sees it, with the maps over it.
pub fn drawn(transform: &Transform, image: &Image, maps: &Maps) -> Result<Vec<u8>, super::Failure> {
    let many = maps.panels.len() > 1;
    let seen = seen(transform, image, if many { OF_MANY } else { ALONE })?;
    let (height, width) = seen.size;
    // One map has the image beside it.
    let (columns, rows) = if many { (maps.columns, maps.panels.len() / maps.columns) } else { (2, 1) };
    let line = if many { CHARACTER + 4 } else { 0 };
    let text = 2 * CHARACTER;
    let total = (columns * (width + GAP) + GAP).max(CHARACTER * 60);
    let mut canvas = Canvas::new(total, rows * (height + line + GAP) + GAP + 3 * text + GAP, PAPER);
    let at = |number: usize| (GAP + number % columns * (width + GAP), GAP + number / columns * (height + line + GAP));
    if !many {
        place(&mut canvas, at(0), &seen, None);
    }
    for (number, panel) in maps.panels.iter().enumerate() {
        let (x, y) = at(if many { number } else { 1 });
        canvas.text((x, y), 1, &panel.name, INK);
        place(&mut canvas, (x, y + line), &seen, Some(&panel.map));
    }
    let below = canvas.height - 3 * text - GAP / 2;
    legend(&mut canvas, below, maps, many);
    Ok(canvas.png()?)
}

/// What the model sees of the image, with so many times as many pixels that the shorter side has `side` or more.
fn seen(transform: &Transform, image: &Image, side: usize) -> vit_gpu::Result<Pixels> {
    let pixels = transform.apply(image)?;
    let (h, w) = pixels.size;
    let times = side.div_ceil(h.min(w).max(1));
    if times == 1 {
        return Ok(pixels);
    }
    if transform.resize != Resize::None {
        return transform.clone().with_size((times * h, times * w)).apply(image);
    }
    // Cut out at its own size, so there are no more pixels to be had.
    let small = Image::from_rgb(w, h, pixels.data)?;
    let large = resize(&small, times * w, times * h, Filter::Bicubic, Resizer::Pillow)?;
    Ok(Pixels { size: (times * h, times * w), data: large.data().to_vec() })
}

fn place(canvas: &mut Canvas, (left, top): (usize, usize), seen: &Pixels, map: Option<&Heatmap>) {
    let (height, width) = seen.size;
    let range = map.map(Heatmap::range);
    for (number, pixel) in seen.data.as_chunks::<3>().0.iter().enumerate() {
        let (x, y) = (number % width, number / width);
        let mut colour = *pixel;
        if let (Some(map), Some((low, high))) = (map, range) {
            let value = between(map, (y as f32 + 0.5) / height as f32, (x as f32 + 0.5) / width as f32);
            let share = if high > low { (value - low) / (high - low) } else { 0.0 };
            let of_map = colour_of(share);
            colour = std::array::from_fn(|i| mix(f32::from(pixel[i]), f32::from(of_map[i]), OPACITY) as u8);
        }
        canvas.set(left + x, top + y, colour);
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

/// The colour of a value from 0 to 1.
fn colour_of(share: f32) -> [u8; 3] {
    let at = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let (low, high) = (COLOURS[at as usize], COLOURS[(at as usize + 1).min(COLOURS.len() - 1)]);
    std::array::from_fn(|i| mix(f32::from(low[i]), f32::from(high[i]), at.fract()).round() as u8)
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

/// What is shown, and the scale of colours with the values at its ends.
fn legend(canvas: &mut Canvas, top: usize, maps: &Maps, many: bool) {
    canvas.text((GAP, top), 1, &maps.title, INK);
    let (low, high) = match maps.panels.first() {
        Some(panel) if !many => {
            let (low, high) = panel.map.range();
            (format!("{low:.3e}"), format!("{high:.3e}"))
        }
        // Each map has its own scale, so that faint ones can be seen.
        _ => ("lowest".to_owned(), "highest of each map".to_owned()),
    };
    let (y, bar) = (top + CHARACTER + 6, 20 * CHARACTER);
    let left = GAP + (low.len() + 1) * CHARACTER;
    for x in 0..bar {
        let colour = colour_of(x as f32 / (bar - 1) as f32);
        (0..2 * CHARACTER).for_each(|dy| canvas.set(left + x, y + dy, colour));
    }
    canvas.text((GAP, y + CHARACTER / 2), 1, &low, INK);
    canvas.text((left + bar + CHARACTER, y + CHARACTER / 2), 1, &high, INK);
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((colour_of(0.0), colour_of(1.0), colour_of(0.5)), ([0, 0, 4], [252, 255, 164], [188, 55, 84]));
        let light = |share| colour_of(share).iter().map(|c| u32::from(*c)).sum::<u32>();
        assert!((1..=64).all(|i| light(i as f32 / 64.0) >= light((i - 1) as f32 / 64.0)));
    }
}
