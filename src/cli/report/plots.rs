//! The confusion matrix and the reliability diagram, as SVG that takes the page's colour of text.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use vit_gpu::insight::metrics::{Bin, Confusion};

use super::super::labelled::Classes;

type Drawn<T> = Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The one colour besides that of text.
const BLUE: RGBColor = RGBColor(31, 95, 168);
/// Letters of a class's name beside the matrix.
const LETTERS: usize = 18;

/// Draws on an area of this size. What is black becomes the colour of the page's text, so that it can be read on any background.
fn drawn(what: &str, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn<()>) -> Drawn<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&area)?;
    area.present()?;
    drop(area);
    let svg = svg.replace("\"#000000\"", "\"currentColor\"");
    Ok(svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{what}\" "), 1))
}

fn text<'a>(size: u32, position: (HPos, VPos)) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(position.0, position.1))
}

/// The confusion matrix of these classes: rows are right classes, columns predicted ones. A cell is the bluer, the larger its
/// share of the row is.
pub fn matrix(confusion: &Confusion, shown: &[usize], classes: &Classes) -> Drawn<String> {
    let cell = match shown.len() {
        0..=12 => 44,
        13..=20 => 34,
        _ => 22,
    };
    let name = |class: usize| {
        let name = classes.shown(class);
        if name.chars().count() <= LETTERS {
            return name;
        }
        name.chars().take(LETTERS - 1).chain(['…']).collect()
    };
    // Room for the longest name, and for what stands beside the corner.
    let longest = shown.iter().map(|class| name(*class).chars().count()).max().unwrap_or(0).max(10) as i32;
    let (left, top, side) = (8 * longest + 16, 8 * longest + 16, cell * shown.len() as i32);
    let size = ((left + side + 10) as u32, (top + side + 10) as u32);
    drawn("confusion matrix", size, |area| {
        let names = text(13, (HPos::Right, VPos::Center));
        let upright = text(13, (HPos::Left, VPos::Center)).transform(FontTransform::Rotate270);
        for (i, class) in shown.iter().enumerate() {
            let middle = i as i32 * cell + cell / 2;
            area.draw(&Text::new(name(*class), (left - 8, top + middle), names.clone()))?;
            area.draw(&Text::new(name(*class), (left + middle, top - 8), upright.clone()))?;
        }
        area.draw(&Text::new("predicted →", (left - 8, top - 12), text(12, (HPos::Right, VPos::Bottom))))?;
        for (row, class) in shown.iter().enumerate() {
            let total: u64 = shown.iter().map(|predicted| confusion.get(*class, *predicted)).sum();
            for (column, predicted) in shown.iter().enumerate() {
                let count = confusion.get(*class, *predicted);
                let share = count as f64 / total.max(1) as f64;
                let (x, y) = (left + column as i32 * cell, top + row as i32 * cell);
                let corners = [(x, y), (x + cell, y + cell)];
                area.draw(&Rectangle::new(corners, BLUE.mix(share).filled()))?;
                area.draw(&Rectangle::new(corners, BLACK.mix(0.15).stroke_width(1)))?;
                if count > 0 {
                    let size = if cell > 30 { 13 } else { 9 };
                    let style = text(size, (HPos::Center, VPos::Center));
                    let style = if share > 0.5 { style.color(&WHITE) } else { style };
                    area.draw(&Text::new(count.to_string(), (x + cell / 2, y + cell / 2), style))?;
                }
            }
        }
        Ok(())
    })
}

/// How often predictions are right, by their confidence; below, how many there are.
pub fn reliability(bins: &[Bin]) -> Drawn<String> {
    drawn("reliability diagram", (420, 460), |area| {
        let (upper, lower) = area.split_vertically(340);
        let axes = |chart: &mut ChartContext<'_, SVGBackend<'_>, Plane>, x: &str, y: &str| -> Drawn<()> {
            let style = text(12, (HPos::Center, VPos::Top));
            let mut mesh = chart.configure_mesh();
            mesh.disable_mesh().x_desc(x).y_desc(y).label_style(style.clone()).axis_desc_style(style).axis_style(BLACK);
            let number = |value: &f64| {
                let digits = if value.fract() == 0.0 { 0 } else { 1 };
                format!("{value:.digits$}")
            };
            Ok(mesh.x_labels(6).y_labels(6).x_label_formatter(&number).y_label_formatter(&number).draw()?)
        };
        let mut chart = ChartBuilder::on(&upper)
            .margin(10)
            .set_label_area_size(LabelAreaPosition::Left, 48)
            .set_label_area_size(LabelAreaPosition::Bottom, 24)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        axes(&mut chart, "", "accuracy")?;
        let there = || bins.iter().filter(|bin| bin.count > 0 && bin.from < 1.0);
        chart.draw_series(
            there().map(|bin| Rectangle::new([(bin.from, 0.0), (bin.to, bin.accuracy)], BLUE.mix(0.75).filled())),
        )?;
        chart.draw_series([PathElement::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.6))])?;
        let dots = bins.iter().filter(|bin| bin.count > 0);
        chart.draw_series(dots.map(|bin| Circle::new((bin.confidence, bin.accuracy), 3, BLACK.filled())))?;
        let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
        let mut chart = ChartBuilder::on(&lower)
            .margin(10)
            .set_label_area_size(LabelAreaPosition::Left, 48)
            .set_label_area_size(LabelAreaPosition::Bottom, 36)
            .build_cartesian_2d(0.0..1.0, 0.0..most)?;
        axes(&mut chart, "confidence", "images")?;
        // Those that are exactly 1 are drawn with the range before.
        let exact = bins.last().filter(|bin| bin.from >= 1.0).map_or(0, |bin| bin.count);
        let last = bins.len().saturating_sub(2);
        chart.draw_series(bins.iter().enumerate().filter(|(_, bin)| bin.from < 1.0).map(|(i, bin)| {
            let count = bin.count + if i == last { exact } else { 0 };
            Rectangle::new([(bin.from, 0.0), (bin.to, (count as f64).min(most))], BLUE.mix(0.75).filled())
        }))?;
        Ok(())
    })
}

type Plane = Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>;
