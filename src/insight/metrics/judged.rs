//! What a classifier said of one image whose class is known.

use crate::error::{Error, Result};
use crate::labels::softmax;

/// What a classifier said of one image whose class is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The right class.
    pub class: usize,
    /// The class with the highest logit; of equal ones the first.
    pub predicted: usize,
    /// How many classes come before the right one in the order of their logits: 0 if the prediction is right.
    pub rank: usize,
    /// The softmax of the predicted class, from 0 to 1.
    pub confidence: f32,
    /// The cross-entropy: minus the natural logarithm of the right class's softmax.
    pub loss: f64,
}

impl Judged {
    /// Compares logits `[K]` with the right class, a number below K.
    ///
    /// # Errors
    /// [`Error::Argument`] for a class that has no logit, and for logits that are not finite.
    pub fn of(logits: &[f32], class: usize) -> Result<Judged> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::argument("logits", "a logit is not finite"));
        }
        let Some(right) = logits.get(class) else {
            return Err(Error::argument("class", format!("class {class}: there are {} logits", logits.len())));
        };
        let before = |(i, logit): (usize, &f32), other: usize, than: &f32| logit > than || (logit == than && i < other);
        let rank = logits.iter().enumerate().filter(|pair| before(*pair, class, right)).count();
        let best = |best: usize, (i, logit): (usize, &f32)| if *logit > logits[best] { i } else { best };
        let predicted = logits.iter().enumerate().fold(0, best);
        let largest = f64::from(logits[predicted]);
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
        let loss = sum.ln() + largest - f64::from(*right);
        Ok(Judged { class, predicted, rank, confidence: softmax(logits)[predicted], loss })
    }
}

/// The share of images whose right class is among the `k` with the highest logits, from 0 to 1; 0 without images.
#[must_use]
pub fn accuracy(judged: &[Judged], k: usize) -> f64 {
    judged.iter().filter(|image| image.rank < k).count() as f64 / judged.len().max(1) as f64
}

/// The mean cross-entropy in nats; 0 without images.
#[must_use]
pub fn cross_entropy(judged: &[Judged]) -> f64 {
    judged.iter().map(|image| image.loss).sum::<f64>() / judged.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_are_ordered_by_their_numbers() {
        let judged = Judged::of(&[1.0, 3.0, 3.0, 0.0], 2).unwrap();
        assert_eq!((judged.predicted, judged.rank), (1, 1));
        assert_eq!((accuracy(&[judged], 1), accuracy(&[judged], 2), accuracy(&[], 1)), (0.0, 1.0, 0.0));
        assert_eq!(Judged::of(&[1.0, 3.0, 3.0, 0.0], 1).unwrap().rank, 0);
    }

    #[test]
    fn the_loss_of_a_hopeless_class_is_finite() {
        let judged = Judged::of(&[1000.0, -1000.0], 1).unwrap();
        assert_eq!((judged.loss, judged.confidence), (2000.0, 1.0));
        assert_eq!(cross_entropy(&[judged, Judged::of(&[1000.0, -1000.0], 0).unwrap()]), 1000.0);
    }

    #[test]
    fn what_is_no_number_or_no_class_is_refused() {
        assert!(Judged::of(&[0.0, f32::NAN], 0).unwrap_err().to_string().contains("not finite"));
        assert!(Judged::of(&[0.0, 1.0], 2).unwrap_err().to_string().contains("2 logits"));
    }
}
