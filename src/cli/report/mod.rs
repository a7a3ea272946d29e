//! How good a classifier is on labelled photos: as text, JSON or a page. `eval` and `probe` share it.

mod page;
mod plots;
mod several;
mod thumbnails;

use std::fmt::Write;

use serde_json::{Value, json};
use vit_gpu::insight::metrics::{
    Average, Bin, Confusion, Figures, Judged, Means, accuracy, calibration, cross_entropy, expected_calibration_error,
};

use super::inputs::{Input, Reading};
use super::labelled::Classes;

pub use page::{Sections, escaped, write as write_page};
pub use several::Several;
pub use thumbnails::thumbnail;

/// Ranges of confidence, as many as torchmetrics has by default.
const BINS: usize = 15;
/// With more classes, pairs and the weakest classes are shown in place of all.
pub const MANY: usize = 40;
/// How many are shown then.
pub const SHOWN: usize = 20;

/// Where figures come from.
pub struct About {
    /// What was measured, as names and values: the model, the device, and others.
    pub facts: Vec<(&'static str, String)>,
    /// The photos that have no result, and why.
    pub failed: Vec<(String, String)>,
    /// How long all photos took, if they were run.
    pub seconds: Option<f64>,
}

impl About {
    /// The lines above all figures.
    fn text(&self, images: usize) -> String {
        let mut out = String::new();
        for (name, value) in &self.facts {
            line(&mut out, name, value);
        }
        line(&mut out, "images", &self.images(images));
        out
    }

    pub fn images(&self, images: usize) -> String {
        let rate = self.seconds.map_or(String::new(), |seconds| format!(", {:.1} a second", images as f64 / seconds));
        match self.failed.len() {
            0 => format!("{images}{rate}"),
            failed => format!("{images}{rate}; {failed} could not be read or run"),
        }
    }

    fn json(&self, images: usize) -> Value {
        let mut report = json!({});
        self.facts.iter().for_each(|(name, value)| report[*name] = json!(value));
        report["images"] = json!(images);
        let failed = self.failed.iter().map(|(image, error)| json!({"image": image, "error": error}));
        report["failed"] = failed.collect();
        if let Some(seconds) = self.seconds {
            report["seconds"] = json!(seconds);
            report["images_per_s"] = json!(images as f64 / seconds);
        }
        report
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name:<18} {value}");
}

/// A row of a table of classes.
pub struct Row {
    pub name: String,
    pub figures: Figures,
    /// With several labels for a photo.
    pub average_precision: Option<String>,
}

/// Figures of photos that each have one class.
pub struct Report<'a> {
    pub about: About,
    pub classes: &'a Classes,
    /// The photos that have a result.
    pub images: Vec<&'a Input>,
    pub judged: Vec<Judged>,
    pub reading: Reading,
    confusion: Confusion,
    bins: Vec<Bin>,
}

impl<'a> Report<'a> {
    pub fn new(
        about: About,
        classes: &'a Classes,
        images: Vec<&'a Input>,
        judged: Vec<Judged>,
        reading: Reading,
    ) -> Report<'a> {
        let (confusion, bins) = (Confusion::of(&judged), calibration(&judged, BINS));
        Report { about, classes, images, judged, reading, confusion, bins }
    }

    /// The figures of the whole, as names and texts.
    fn whole(&self) -> Vec<(&'static str, String)> {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        let mut all = vec![("top-1 accuracy", percent(accuracy(&self.judged, 1)))];
        if self.classes.len() > 5 {
            all.push(("top-5 accuracy", percent(accuracy(&self.judged, 5))));
        }
        all.push(("cross-entropy", format!("{:.4}", cross_entropy(&self.judged))));
        all.push(("calibration error", percent(expected_calibration_error(&self.bins))));
        all
    }

    /// The classes to list, with their figures: all, or the weakest of many.
    fn listed(&self) -> (Vec<Row>, Option<String>) {
        let mut figures = self.confusion.figures();
        let note = (figures.len() > MANY).then(|| {
            let note = format!("{SHOWN} of {} classes: those with the lowest F1", figures.len());
            figures.sort_by(|a, b| a.1.f1.total_cmp(&b.1.f1).then(a.0.cmp(&b.0)));
            figures.truncate(SHOWN);
            note
        });
        let row = |(class, figures)| Row { name: self.classes.shown(class), figures, average_precision: None };
        (figures.into_iter().map(row).collect(), note)
    }

    /// The wrong predictions that occur most often: right class, predicted class, images, and their share of the right class.
    fn mistakes(&self) -> Vec<(String, String, u64, f64)> {
        let support: std::collections::HashMap<usize, u64> =
            self.confusion.figures().iter().map(|(class, figures)| (*class, figures.support)).collect();
        let pairs = self.confusion.mistakes().into_iter().take(SHOWN);
        pairs
            .map(|(class, predicted, count)| {
                let share = count as f64 / support.get(&class).copied().unwrap_or(1).max(1) as f64;
                (self.classes.shown(class), self.classes.shown(predicted), count, share)
            })
            .collect()
    }

    pub fn text(&self) -> String {
        let mut out = self.about.text(self.judged.len());
        self.whole().iter().for_each(|(name, value)| line(&mut out, name, value));
        let (figures, note) = self.listed();
        table(&mut out, &figures, &self.confusion.means(), note.as_deref());
        let mistakes = self.mistakes();
        if !mistakes.is_empty() {
            out += "\nmost often confused\n";
        }
        for (class, predicted, count, share) in mistakes.iter().take(5) {
            let _ = writeln!(out, "{count:>6}  {class} taken for {predicted} ({:.1} % of {class})", 100.0 * share);
        }
        out
    }

    pub fn json(&self) -> Value {
        let mut report = self.about.json(self.judged.len());
        report["top1"] = json!(accuracy(&self.judged, 1));
        report["top5"] = json!(accuracy(&self.judged, 5));
        report["cross_entropy"] = json!(cross_entropy(&self.judged));
        report["expected_calibration_error"] = json!(expected_calibration_error(&self.bins));
        means_to(&mut report, &self.confusion.means());
        let figures = self.confusion.figures();
        report["per_class"] = figures.iter().map(|(class, figures)| self.one(*class, figures)).collect();
        let entries = self.confusion.entries();
        report["confusion"] = entries
            .map(|(class, predicted, count)| json!({"class": class, "predicted": predicted, "images": count}))
            .collect();
        let bin = |bin: &Bin| {
            json!({
                "from": bin.from, "to": bin.to, "images": bin.count, "accuracy": bin.accuracy, "confidence": bin.confidence,
            })
        };
        report["calibration"] = self.bins.iter().map(bin).collect();
        report
    }

    fn one(&self, class: usize, figures: &Figures) -> Value {
        let mut one = json!({"index": class, "label": self.classes.shown(class)});
        figures_to(&mut one, figures);
        one
    }
}

fn figures_to(one: &mut Value, figures: &Figures) {
    one["precision"] = json!(figures.precision);
    one["recall"] = json!(figures.recall);
    one["f1"] = json!(figures.f1);
    one["images"] = json!(figures.support);
}

fn means_to(report: &mut Value, means: &Means) {
    for (name, mean) in named(means) {
        report[name] = json!({"precision": mean.precision, "recall": mean.recall, "f1": mean.f1});
    }
}

fn named(means: &Means) -> [(&'static str, Average); 3] {
    [("macro", means.macro_mean), ("micro", means.micro_mean), ("weighted", means.weighted_mean)]
}

/// A row for each class, with its average precision if there is one, and a row for each mean.
fn table(out: &mut String, rows: &[Row], means: &Means, note: Option<&str>) {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).clamp(18, 40);
    let cut = |name: &str| {
        let long = name.chars().count() > width;
        if long { format!("{}…", name.chars().take(width - 1).collect::<String>()) } else { name.to_owned() }
    };
    let extra = rows.iter().any(|row| row.average_precision.is_some());
    let title = if extra { "  avg. precision" } else { "" };
    let _ = writeln!(out, "\n{:<width$} precision    recall        f1   images{title}", "");
    for Row { name, figures, average_precision } in rows {
        let Figures { precision, recall, f1, support } = figures;
        let extra = average_precision.as_ref().map_or(String::new(), |extra| format!("  {extra:>14}"));
        let _ = writeln!(out, "{:<width$} {precision:>9.4} {recall:>9.4} {f1:>9.4} {support:>8}{extra}", cut(name));
    }
    for (name, Average { precision, recall, f1 }) in named(means) {
        let name = format!("{name} mean");
        let _ = writeln!(out, "{name:<width$} {precision:>9.4} {recall:>9.4} {f1:>9.4}");
    }
    if let Some(note) = note {
        let _ = writeln!(out, "({note}; -f json has all)");
    }
}
