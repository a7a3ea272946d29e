//! Maps over an image, with a legend.

use vit_gpu::insight::{Heatmap, colour, seen};
use vit_gpu::{Image, Model};

use super::Maps;
use super::canvas::{CHARACTER, Canvas};

/// A map, with its name where there are several.
pub struct Panel {
    pub name: String,
    pub map: Heatmap,
}

/// The shorter side of an image that is drawn alone, and of one of many.
const ALONE: usize = 448;
const OF_MANY: usize = 112;
/// Space between panels.
const GAP: usize = 8;
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [32; 3];

/// The PNG of an image as the model sees it, with the maps over it.
pub fn drawn(model: &Model, image: &Image, maps: &Maps) -> Result<Vec<u8>, super::Failure> {
    let many = maps.panels.len() > 1;
    let seen = seen(model, image, if many { OF_MANY } else { ALONE })?;
    let (height, width) = (seen.height(), seen.width());
    // One map has the image beside it.
    let (columns, rows) = if many { (maps.columns, maps.panels.len() / maps.columns) } else { (2, 1) };
    let line = if many { CHARACTER + 4 } else { 0 };
    let text = 2 * CHARACTER;
    let total = (columns * (width + GAP) + GAP).max(CHARACTER * 60);
    let mut canvas = Canvas::new(total, rows * (height + line + GAP) + GAP + 3 * text + GAP, PAPER);
    let at = |number: usize| (GAP + number % columns * (width + GAP), GAP + number / columns * (height + line + GAP));
    if !many {
        place(&mut canvas, at(0), &seen);
    }
    for (number, panel) in maps.panels.iter().enumerate() {
        let (x, y) = at(if many { number } else { 1 });
        canvas.text((x, y), 1, &panel.name, INK);
        place(&mut canvas, (x, y + line), &panel.map.over(&seen)?);
    }
    let below = canvas.height - 3 * text - GAP / 2;
    legend(&mut canvas, below, maps, many);
    Ok(canvas.png()?)
}

fn place(canvas: &mut Canvas, (left, top): (usize, usize), image: &Image) {
    for (number, pixel) in image.data().as_chunks::<3>().0.iter().enumerate() {
        canvas.set(left + number % image.width(), top + number / image.width(), *pixel);
    }
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
        let colour = colour(x as f32 / (bar - 1) as f32);
        (0..2 * CHARACTER).for_each(|dy| canvas.set(left + x, y + dy, colour));
    }
    canvas.text((GAP, y + CHARACTER / 2), 1, &low, INK);
    canvas.text((left + bar + CHARACTER, y + CHARACTER / 2), 1, &high, INK);
}
