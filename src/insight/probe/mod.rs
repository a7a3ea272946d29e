//! Training a classifier on features of a frozen model.

mod lbfgs;
mod logistic;
mod scale;
mod split;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::head::{Linear, check};
use crate::error::{Error, Result};
use logistic::{Examples, predicted};
use scale::Scale;

pub use split::{folds, split};

/// How a linear classifier is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Values of C to choose from, each above 0: a small C is a strong penalty on the weights (C is what scikit-learn calls so).
    pub grid: Vec<f64>,
    /// The fold of each example, as [`folds`] deals them.
    pub folds: Vec<usize>,
}

impl Training {
    /// scikit-learn's grid: ten values from 1e-4 to 1e4, equally far apart on a logarithmic scale.
    #[must_use]
    pub fn usual_grid() -> Vec<f64> {
        (0..10).map(|i| 10f64.powf(-4.0 + 8.0 * f64::from(i) / 9.0)).collect()
    }
}

/// A trained classifier, and what its training found.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The classifier.
    pub classifier: Linear,
    /// The chosen C.
    pub c: f64,
    /// Each C of the grid, and the mean accuracy over the folds that were left out, from 0 to 1.
    pub accuracies: Vec<(f64, f64)>,
}

/// Trains multinomial logistic regression on features `[N, F]` and their classes, numbers below `count`.
///
/// Features are standardised (mean 0, standard deviation 1). For each C, a classifier is trained without each fold in turn and
/// measured on it; the C with the highest mean accuracy is taken, of equal ones the smallest, and trained on all examples. The
/// objective is scikit-learn's: C times the sum of the cross-entropies, plus half the squared weights; biases are not penalised.
/// The folds are computed on all cores.
///
/// # Errors
/// [`Error::Argument`] for features of different lengths or that are not finite, for less than two classes, for a class that is not below
/// `count` or has no example, for a grid that is empty or has values of 0 or less, and where the folds are not one for each
/// example or less than two.
pub fn train_linear(features: &[Vec<f32>], classes: &[usize], count: usize, training: &Training) -> Result<Trained> {
    check(features, classes, count)?;
    let mut grid = training.grid.clone();
    grid.sort_by(f64::total_cmp);
    if grid.is_empty() || grid.iter().any(|c| !(*c > 0.0 && c.is_finite())) {
        return Err(Error::argument("grid", format!("{grid:?}: each C is a number above 0")));
    }
    let parts = training.folds.iter().max().map_or(0, |last| last + 1);
    if training.folds.len() != features.len() || parts < 2 {
        let reason = format!("{} examples, {} of them in {parts} folds", features.len(), training.folds.len());
        return Err(Error::argument("folds", reason));
    }
    let scale = Scale::of(features);
    let rows: Vec<Vec<f32>> = features.iter().map(|row| scale.applied(row)).collect();
    let each = in_parallel(parts, |fold| without(fold, &rows, classes, count, &training.folds, &grid));
    let accuracies: Vec<(f64, f64)> = (grid.iter().enumerate())
        .map(|(i, c)| (*c, each.iter().map(|fold| fold[i]).sum::<f64>() / parts as f64))
        .collect();
    let best = accuracies.iter().fold(accuracies[0], |best, next| if next.1 > best.1 { *next } else { best });
    let examples = Examples { rows: rows.iter().map(Vec::as_slice).collect(), classes: classes.to_vec(), count };
    let mut parameters = examples.start();
    // From strong to weak penalties, each search begins near its end.
    grid.iter().filter(|c| **c <= best.0).for_each(|c| examples.fit(&mut parameters, *c));
    let (weights, biases) = scale.folded(&parameters, count);
    Ok(Trained { classifier: Linear::new(weights, biases)?, c: best.0, accuracies })
}

/// The accuracy on one fold of classifiers that were trained on the others, for each C.
fn without(fold: usize, rows: &[Vec<f32>], classes: &[usize], count: usize, folds: &[usize], grid: &[f64]) -> Vec<f64> {
    let part = |within: bool| (0..rows.len()).filter(move |i| (folds[*i] == fold) == within);
    let examples = Examples {
        rows: part(false).map(|i| rows[i].as_slice()).collect(),
        classes: part(false).map(|i| classes[i]).collect(),
        count,
    };
    let left_out = part(true).count().max(1) as f64;
    let mut parameters = examples.start();
    let accuracy = |c: &f64| {
        examples.fit(&mut parameters, *c);
        let right = part(true).filter(|i| predicted(&parameters, count, &rows[*i]) == classes[*i]).count();
        right as f64 / left_out
    };
    grid.iter().map(accuracy).collect()
}

/// The results of `work` for every number below `count`, computed on all cores.
fn in_parallel<T: Send + Default + Clone>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(count);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![T::default(); count]));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = work(number);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[number] = result;
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
