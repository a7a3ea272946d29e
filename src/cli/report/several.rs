//! Figures of photos that each have several labels, or none.

use serde_json::{Value, json};
use vit_gpu::insight::metrics::{Figures, MultiLabel};

use super::super::labelled::Classes;
use super::{About, MANY, Row, SHOWN, figures_to, line, means_to, table};

/// Figures of a model of several labels.
pub struct Several<'a> {
    pub about: About,
    pub classes: &'a Classes,
    pub figures: MultiLabel,
    pub images: usize,
}

impl Several<'_> {
    /// The figures of the whole, as names and texts.
    pub fn whole(&self) -> Vec<(&'static str, String)> {
        vec![
            ("average precision", format!("{:.4}, mean of labels", self.figures.mean_average_precision)),
            ("all labels right", format!("{:.2} %", 100.0 * self.figures.exact_match)),
        ]
    }

    /// The labels to list, with their figures and average precision: all, or of many those that occur and are the weakest.
    pub fn listed(&self) -> (Vec<Row>, Option<String>) {
        let mut all: Vec<_> = self.figures.labels.iter().enumerate().collect();
        let note = (all.len() > MANY).then(|| {
            all.retain(|(_, (figures, _))| figures.support > 0);
            all.sort_by(|a, b| a.1.0.f1.total_cmp(&b.1.0.f1).then(a.0.cmp(&b.0)));
            let note = format!("{} of {} labels that occur: those with the lowest F1", SHOWN.min(all.len()), all.len());
            all.truncate(SHOWN);
            note
        });
        let row = |(label, (figures, precision)): (usize, &(Figures, f64))| Row {
            name: self.classes.shown(label),
            figures: *figures,
            average_precision: Some(format!("{precision:.4}")),
        };
        (all.into_iter().map(row).collect(), note)
    }

    pub fn text(&self) -> String {
        let mut out = self.about.text(self.images);
        self.whole().iter().for_each(|(name, value)| line(&mut out, name, value));
        let (rows, note) = self.listed();
        table(&mut out, &rows, &self.figures.means, note.as_deref());
        out
    }

    pub fn json(&self) -> Value {
        let mut report = self.about.json(self.images);
        report["mean_average_precision"] = json!(self.figures.mean_average_precision);
        report["exact_match"] = json!(self.figures.exact_match);
        means_to(&mut report, &self.figures.means);
        let one = |(label, (figures, precision)): (usize, &(Figures, f64))| {
            let mut one = json!({"index": label, "label": self.classes.shown(label)});
            figures_to(&mut one, figures);
            one["average_precision"] = json!(precision);
            one
        };
        report["per_label"] = self.figures.labels.iter().enumerate().map(one).collect();
        report
    }
}
