//! Multinomial logistic regression with an L2 penalty: the objective of scikit-learn's `LogisticRegression`, divided by the number
//! of examples.

use super::lbfgs::minimise;

/// Parts of a sum that are kept apart, so that a compiler may add them side by side.
const LANES: usize = 16;
/// Examples whose gradient is added up in f32.
const TOGETHER: usize = 64;
/// Where the search ends: no part of the gradient is larger. scikit-learn's default.
const TOLERANCE: f64 = 1e-4;
/// Steps of the search at most.
const STEPS: usize = 1000;

/// Examples: rows `[N, F]`, which should be standardised, and the class of each, below `count`.
pub struct Examples<'a> {
    pub rows: Vec<&'a [f32]>,
    pub classes: Vec<usize>,
    pub count: usize,
}

impl Examples<'_> {
    fn width(&self) -> usize {
        self.rows.first().map_or(0, |row| row.len())
    }

    /// Weights `[K, F]` and biases `[K]`, one behind the other, that nothing is known of yet.
    pub fn start(&self) -> Vec<f64> {
        vec![0.0; self.count * (self.width() + 1)]
    }

    /// Fits weights and biases, from where `parameters` is: minimises the mean cross-entropy plus |weights|² / (2·C·N).
    pub fn fit(&self, parameters: &mut Vec<f64>, c: f64) {
        let penalty = 1.0 / (c * self.rows.len() as f64);
        minimise(parameters, |at, gradient| self.objective(at, penalty, gradient), TOLERANCE, STEPS);
    }

    fn objective(&self, parameters: &[f64], penalty: f64, gradient: &mut [f64]) -> f64 {
        let (width, count) = (self.width(), self.count);
        let weights: Vec<f32> = parameters[..count * width].iter().map(|w| *w as f32).collect();
        let biases = &parameters[count * width..];
        gradient.fill(0.0);
        let mut loss = 0.0;
        let mut part = vec![0.0f32; count * width];
        let mut scores = vec![0.0f64; count];
        for (rows, classes) in self.rows.chunks(TOGETHER).zip(self.classes.chunks(TOGETHER)) {
            part.fill(0.0);
            for (row, class) in rows.iter().zip(classes) {
                for ((score, weights), bias) in scores.iter_mut().zip(weights.chunks_exact(width)).zip(biases) {
                    *score = f64::from(dot(row, weights)) + bias;
                }
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let right = scores[*class];
                scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
                let sum: f64 = scores.iter().sum();
                loss += sum.ln() + largest - right;
                for (k, score) in scores.iter().enumerate() {
                    let off = score / sum - f64::from(u8::from(k == *class));
                    gradient[count * width + k] += off;
                    add(&mut part[k * width..(k + 1) * width], off as f32, row);
                }
            }
            gradient.iter_mut().zip(&part).for_each(|(sum, part)| *sum += f64::from(*part));
        }
        let examples = self.rows.len() as f64;
        gradient.iter_mut().for_each(|value| *value /= examples);
        let mut squares = 0.0;
        for (weight, gradient) in parameters[..count * width].iter().zip(gradient.iter_mut()) {
            squares += weight * weight;
            *gradient += penalty * weight;
        }
        loss / examples + 0.5 * penalty * squares
    }
}

/// The class with the highest score.
pub fn predicted(parameters: &[f64], count: usize, row: &[f32]) -> usize {
    let (weights, biases) = parameters.split_at(count * row.len());
    let score = |k: usize| {
        let weights = &weights[k * row.len()..(k + 1) * row.len()];
        weights.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + biases[k]
    };
    let scores: Vec<f64> = (0..count).map(score).collect();
    (0..count).fold(0, |best, k| if scores[k] > scores[best] { k } else { best })
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

fn add(to: &mut [f32], times: f32, what: &[f32]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_objectives_slope() {
        let rows: Vec<Vec<f32>> =
            (0..70).map(|i| (0..19).map(|j| ((i * 7 + j * 3) % 11) as f32 / 5.0 - 1.0).collect()).collect();
        let examples = Examples {
            rows: rows.iter().map(Vec::as_slice).collect(),
            classes: (0..70).map(|i| i % 3).collect(),
            count: 3,
        };
        let at: Vec<f64> = (0..60).map(|i| f64::from(i % 7) / 10.0 - 0.3).collect();
        let mut gradient = vec![0.0; 60];
        examples.objective(&at, 0.1, &mut gradient);
        for i in [0, 20, 56, 57, 59] {
            let value = |by: f64| {
                let mut moved = at.clone();
                moved[i] += by;
                examples.objective(&moved, 0.1, &mut vec![0.0; 60])
            };
            let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
            assert!((slope - gradient[i]).abs() < 1e-4, "{i}: {slope} {}", gradient[i]);
        }
    }
}
