//! Figures of models that give an image several labels, or none.

use super::counts::{Counts, Figures, Means};
use crate::error::{Error, Result};

/// Figures of a model that gives an image several labels, or none. A label is predicted if its logit is above 0, which is a sigmoid
/// above 0.5.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    /// The figures of each label, and its average precision; 0 for a label that no image has.
    pub labels: Vec<(Figures, f64)>,
    /// Means over all labels.
    pub means: Means,
    /// The mean of the average precisions, over all labels.
    pub mean_average_precision: f64,
    /// The share of images whose labels are all predicted, and no other.
    pub exact_match: f64,
}

impl MultiLabel {
    /// Compares the logits `[K]` of each image with its labels, numbers below K in any order.
    ///
    /// # Errors
    /// [`Error::Argument`] without images, if there are not as many lists of labels, for images with another number of logits than
    /// the first, for logits that are not finite and labels that have no logit.
    pub fn of(logits: &[Vec<f32>], labels: &[Vec<usize>]) -> Result<MultiLabel> {
        let count = check(logits, labels)?;
        let mut truth = vec![vec![false; logits.len()]; count];
        for (image, labels) in labels.iter().enumerate() {
            labels.iter().for_each(|label| truth[*label][image] = true);
        }
        let (mut counts, mut precisions) = (vec![Counts::default(); count], Vec::with_capacity(count));
        let mut exact = vec![true; logits.len()];
        for (label, truth) in truth.iter().enumerate() {
            let column: Vec<f32> = logits.iter().map(|logits| logits[label]).collect();
            for ((logit, truth), exact) in column.iter().zip(truth).zip(&mut exact) {
                let predicted = *logit > 0.0;
                counts[label].hits += u64::from(predicted && *truth);
                counts[label].support += u64::from(*truth);
                counts[label].predicted += u64::from(predicted);
                *exact &= predicted == *truth;
            }
            precisions.push(average_precision(&column, truth));
        }
        let mean_average_precision = precisions.iter().sum::<f64>() / count.max(1) as f64;
        Ok(MultiLabel {
            labels: counts.iter().map(|counts| counts.figures()).zip(precisions).collect(),
            means: Means::of(&counts),
            mean_average_precision,
            exact_match: exact.iter().filter(|exact| **exact).count() as f64 / logits.len() as f64,
        })
    }
}

/// How many labels there are.
fn check(logits: &[Vec<f32>], labels: &[Vec<usize>]) -> Result<usize> {
    let wrong = |reason: String| Err(Error::argument("logits", reason));
    let Some(first) = logits.first() else { return wrong("no logits were given".to_owned()) };
    if logits.len() != labels.len() {
        return wrong(format!("the logits of {} images, and the labels of {}", logits.len(), labels.len()));
    }
    let count = first.len();
    if let Some(other) = logits.iter().find(|logits| logits.len() != count) {
        return wrong(format!("{} logits and {count} of another image", other.len()));
    }
    if logits.iter().flatten().any(|logit| !logit.is_finite()) {
        return wrong("a logit is not finite".to_owned());
    }
    match labels.iter().flatten().find(|label| **label >= count) {
        Some(label) => wrong(format!("label {label}: there are {count} logits")),
        None => Ok(count),
    }
}

/// The average precision of one label: the precision at each threshold, weighted by how much recall it adds (no interpolation).
/// Images with equal scores share a threshold. 0 if no image has the label, as in scikit-learn.
#[must_use]
pub fn average_precision(scores: &[f32], truth: &[bool]) -> f64 {
    let positives = truth.iter().filter(|truth| **truth).count();
    let mut order: Vec<(f32, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut hits, mut sum) = (0usize, 0usize, 0.0);
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let new = same.iter().filter(|(_, truth)| *truth).count();
        (seen, hits) = (seen + same.len(), hits + new);
        sum += new as f64 * hits as f64 / seen as f64;
    }
    sum / positives.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_with_equal_scores_share_a_threshold() {
        assert_eq!(average_precision(&[1.0, 1.0, 0.5], &[true, false, true]), 0.5 * 0.5 + 0.5 * 2.0 / 3.0);
        assert_eq!(average_precision(&[1.0], &[false]), 0.0);
        assert_eq!(average_precision(&[], &[]), 0.0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let said = |logits: &[Vec<f32>], labels: &[Vec<usize>]| MultiLabel::of(logits, labels).unwrap_err().to_string();
        assert_eq!(said(&[], &[]), "no logits were given");
        assert!(said(&[vec![1.0]], &[]).contains("the labels of 0"));
        assert!(said(&[vec![1.0], vec![1.0, 2.0]], &[vec![], vec![]]).contains("2 logits and 1"));
        assert!(said(&[vec![f32::INFINITY]], &[vec![]]).contains("not finite"));
        assert!(said(&[vec![1.0]], &[vec![1]]).contains("label 1: there are 1"));
    }
}
