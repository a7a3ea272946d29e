//! Precision, recall and F1 of counts. A quotient by zero is 0, as with scikit-learn's `zero_division=0`.

/// What is counted for one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Images of this class that were also predicted as such.
    pub hits: u64,
    /// Images of this class.
    pub support: u64,
    /// Images that were predicted as this class.
    pub predicted: u64,
}

/// Figures of one class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The share of the images predicted as this class that are of it, from 0 to 1.
    pub precision: f64,
    /// The share of the images of this class that were predicted as such, from 0 to 1.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// How many images are of this class.
    pub support: u64,
}

impl Counts {
    pub fn figures(self) -> Figures {
        Figures {
            precision: quotient(self.hits, self.predicted),
            recall: quotient(self.hits, self.support),
            f1: quotient(2 * self.hits, self.support + self.predicted),
            support: self.support,
        }
    }
}

fn quotient(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// A mean over classes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Average {
    /// The mean precision.
    pub precision: f64,
    /// The mean recall.
    pub recall: f64,
    /// The mean F1.
    pub f1: f64,
}

/// Means over classes, by scikit-learn's names.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Means {
    /// Every class counts the same.
    pub macro_mean: Average,
    /// Every image counts the same: the figures of all classes' counts together.
    pub micro_mean: Average,
    /// Every class counts as much as it has images.
    pub weighted_mean: Average,
}

impl Means {
    pub(super) fn of(counts: &[Counts]) -> Means {
        let figures: Vec<Figures> = counts.iter().map(|class| class.figures()).collect();
        let sum = |part: fn(&Counts) -> u64| counts.iter().map(part).sum::<u64>();
        let all = Counts { hits: sum(|c| c.hits), support: sum(|c| c.support), predicted: sum(|c| c.predicted) };
        let micro = all.figures();
        let weighted = |weight: fn(&Figures) -> f64| {
            let total: f64 = figures.iter().map(weight).sum();
            let mean = |part: fn(&Figures) -> f64| {
                let sum: f64 = figures.iter().map(|figures| weight(figures) * part(figures)).sum();
                if total == 0.0 { 0.0 } else { sum / total }
            };
            Average { precision: mean(|f| f.precision), recall: mean(|f| f.recall), f1: mean(|f| f.f1) }
        };
        Means {
            macro_mean: weighted(|_| 1.0),
            micro_mean: Average { precision: micro.precision, recall: micro.recall, f1: micro.f1 },
            weighted_mean: weighted(|figures| figures.support as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_by_zero_is_zero() {
        let never = Counts { hits: 0, support: 3, predicted: 0 }.figures();
        assert_eq!(never, Figures { precision: 0.0, recall: 0.0, f1: 0.0, support: 3 });
        assert_eq!(Means::of(&[]), Means::default());
        assert_eq!(Means::of(&[Counts::default()]), Means::default());
    }
}
