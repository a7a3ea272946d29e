//! Draws the time of each kind of operation as a bar chart in an SVG file.

use std::path::Path;

use plotters::prelude::*;
use vit_gpu::Error;

use super::measure::{Measured, Warm};
use super::per_op::Kind;

/// The most bars; the remaining operations are added up in one more.
const MOST: usize = 12;

/// Draws the share of each kind of operation in the time of a device's last batch size.
pub fn draw(file: &Path, device: &Measured) -> Result<(), Error> {
    let Some(warm) = device.warm.last() else { return Ok(()) };
    plot(file, device, warm, warm.per_op.as_deref().unwrap_or_default())
        .map_err(|error| Error::Io { path: file.to_path_buf(), source: std::io::Error::other(error.to_string()) })
}

fn plot(file: &Path, device: &Measured, warm: &Warm, kinds: &[Kind]) -> Result<(), Box<dyn std::error::Error>> {
    let total: f64 = kinds.iter().map(|kind| kind.seconds).sum();
    let mut bars: Vec<(String, f64)> =
        kinds.iter().take(MOST).map(|kind| (kind.label.clone(), 1e3 * kind.seconds)).collect();
    if kinds.len() > MOST {
        bars.push(("the rest".into(), kinds[MOST..].iter().map(|kind| 1e3 * kind.seconds).sum()));
    }
    let longest = bars.iter().map(|(_, ms)| *ms).fold(1e-9, f64::max);
    let root = SVGBackend::new(file, (900, 70 + 32 * bars.len() as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let title =
        format!("{}, {}, batch {}: {:.2} ms in operations", device.name, device.precision, warm.batch, 1e3 * total);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .build_cartesian_2d(-0.45 * longest..1.2 * longest, 0.0..bars.len() as f64)?;
    chart.draw_series(bars.iter().enumerate().map(|(i, (_, ms))| {
        let top = (bars.len() - i) as f64;
        Rectangle::new([(0.0, top - 0.85), (*ms, top - 0.15)], RGBColor(54, 112, 179).filled())
    }))?;
    chart.draw_series(bars.iter().enumerate().map(|(i, (label, _))| {
        Text::new(label.clone(), (-0.44 * longest, (bars.len() - i) as f64 - 0.3), ("sans-serif", 15))
    }))?;
    chart.draw_series(bars.iter().enumerate().map(|(i, (_, ms))| {
        let text = format!("{ms:.2} ms, {:.0} %", 100.0 * ms / (1e3 * total));
        Text::new(text, (*ms + 0.01 * longest, (bars.len() - i) as f64 - 0.3), ("sans-serif", 15))
    }))?;
    root.present()?;
    Ok(())
}
