//! Which classes are taken for which.

use std::collections::{BTreeMap, BTreeSet};

use super::counts::{Counts, Figures, Means};
use super::judged::Judged;

/// The confusion matrix: how many images of each class were predicted as each class. Pairs that did not occur take no memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confusion(BTreeMap<(usize, usize), u64>);

impl Confusion {
    /// Counts images.
    #[must_use]
    pub fn of(judged: &[Judged]) -> Confusion {
        let mut counts = BTreeMap::new();
        judged.iter().for_each(|image| *counts.entry((image.class, image.predicted)).or_default() += 1);
        Confusion(counts)
    }

    /// How many images of `class` were predicted as `predicted`.
    #[must_use]
    pub fn get(&self, class: usize, predicted: usize) -> u64 {
        self.0.get(&(class, predicted)).copied().unwrap_or(0)
    }

    /// All entries that are not 0, as (right class, predicted class, images), sorted by the classes.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.0.iter().map(|((class, predicted), count)| (*class, *predicted, *count))
    }

    /// The entries of wrong predictions, most images first; equal ones by their classes.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let mut pairs: Vec<_> = self.entries().filter(|(class, predicted, _)| class != predicted).collect();
        pairs.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        pairs
    }

    /// The classes that occur or were predicted, sorted. Means are taken over these, as scikit-learn does.
    #[must_use]
    pub fn classes(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.0.keys().flat_map(|(class, predicted)| [*class, *predicted]).collect();
        all.into_iter().collect()
    }

    fn counts(&self) -> BTreeMap<usize, Counts> {
        let mut all: BTreeMap<usize, Counts> = BTreeMap::new();
        for (class, predicted, count) in self.entries() {
            all.entry(class).or_default().support += count;
            all.entry(predicted).or_default().predicted += count;
            if class == predicted {
                all.entry(class).or_default().hits += count;
            }
        }
        all
    }

    /// The figures of each of [`Confusion::classes`], with its number.
    #[must_use]
    pub fn figures(&self) -> Vec<(usize, Figures)> {
        self.counts().into_iter().map(|(class, counts)| (class, counts.figures())).collect()
    }

    /// Means over [`Confusion::classes`]. The micro means are the accuracy.
    #[must_use]
    pub fn means(&self) -> Means {
        Means::of(&self.counts().into_values().collect::<Vec<_>>())
    }
}
