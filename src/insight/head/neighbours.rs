//! Classification by the most similar examples, weighted as in DINO (arXiv:2104.14294).

use super::check::check;
use super::linear::dot;
use crate::error::{Error, Result};
use crate::session::normalize;

/// What similarities are divided by, as in DINO.
const TEMPERATURE: f64 = 0.07;
/// Added to each class's share of the votes, so that one without votes has a logarithm.
const LITTLE: f64 = 1e-6;

/// A classifier that compares with examples. The `k` whose features have the largest cosine similarity vote for their classes, each
/// with the weight `exp(cosine / 0.07)`. The logit of a class is the logarithm of its share of the votes plus 1e-6.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Features of length 1, `[N, F]`.
    features: Vec<f32>,
    classes: Vec<usize>,
    count: usize,
    k: usize,
}

impl Neighbours {
    /// Of the features `[N, F]` of examples, their classes, which are numbers below `count`, and how many vote.
    ///
    /// # Errors
    /// As [`train_linear`](crate::insight::train_linear); [`Error::Argument`] for a `k` of 0 or above N.
    pub fn new(features: &[Vec<f32>], classes: &[usize], count: usize, k: usize) -> Result<Neighbours> {
        check(features, classes, count)?;
        if k == 0 || k > features.len() {
            let reason = format!("{k} neighbours: there are {} examples", features.len());
            return Err(Error::argument("k", reason));
        }
        let mut all: Vec<f32> = Vec::with_capacity(features.len() * features[0].len());
        for row in features {
            let mut row = row.clone();
            normalize(&mut row);
            all.extend(row);
        }
        Ok(Neighbours { features: all, classes: classes.to_vec(), count, k })
    }

    /// How many examples vote.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    pub(super) fn examples(&self) -> (&[f32], &[usize]) {
        (&self.features, &self.classes)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn width(&self) -> usize {
        self.features.len() / self.classes.len()
    }

    pub(super) fn logits(&self, features: &[f32]) -> Vec<f32> {
        let mut unit = features.to_vec();
        normalize(&mut unit);
        let cosines = self.features.chunks_exact(self.width()).map(|example| dot(example, &unit));
        let mut nearest: Vec<(f64, usize)> = cosines.zip(self.classes.iter().copied()).collect();
        if self.k < nearest.len() {
            nearest.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            nearest.truncate(self.k);
        }
        // A common factor changes no share.
        let largest = nearest.iter().map(|(cosine, _)| *cosine).fold(f64::NEG_INFINITY, f64::max);
        let mut votes = vec![0.0; self.count];
        nearest.iter().for_each(|(cosine, class)| votes[*class] += ((cosine - largest) / TEMPERATURE).exp());
        let sum: f64 = votes.iter().sum();
        votes.into_iter().map(|votes| (votes / sum + LITTLE).ln() as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_vote_by_their_similarity() {
        let features = [vec![1.0, 0.0], vec![0.0, 2.0], vec![0.0, 1.0], vec![-1.0, 0.0]];
        let shares = |k, of: &[f32]| -> Vec<f64> {
            let all = Neighbours::new(&features, &[0, 1, 1, 0], 2, k).unwrap();
            all.logits(of).into_iter().map(|logit| f64::from(logit).exp()).collect()
        };
        let one = shares(1, &[3.0, 1.0]);
        assert!((one[0] - 1.0).abs() < 1e-5 && one[1] < 2e-6, "{one:?}");
        // Cosines 0.6, 0.8 and 0.8.
        let three = shares(3, &[0.6, 0.8]);
        let want = 1.0 / (1.0 + 2.0 * (0.2f64 / 0.07).exp());
        assert!((three[0] - want).abs() < 1e-5, "{three:?} {want}");
    }

    #[test]
    fn no_more_can_vote_than_there_are() {
        for k in [0, 3] {
            let error = Neighbours::new(&[vec![1.0], vec![2.0]], &[0, 1], 2, k).unwrap_err();
            assert!(error.to_string().contains("there are 2 examples"));
        }
    }
}
