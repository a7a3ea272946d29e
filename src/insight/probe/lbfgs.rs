//! L-BFGS (Liu and Nocedal 1989) for smooth convex functions.
//!
//! It is written here because the crates that have it bring a framework for optimisation and a dozen crates with it, where one
//! page is enough: the function is convex, so that a line search by halving suffices.

/// Differences of points and gradients that are remembered.
const MEMORY: usize = 10;
/// A step must lower the function by this share of what its slope promises.
const ARMIJO: f64 = 1e-4;
/// How often a step is halved before the search ends.
const HALVINGS: usize = 30;

/// A step that was made: the change of the point and of the gradient, and 1 divided by their product.
struct Step {
    point: Vec<f64>,
    gradient: Vec<f64>,
    inverse: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

/// The direction in which to go: minus the inverse Hessian, as the steps show it, times the gradient.
fn direction(gradient: &[f64], steps: &[Step]) -> Vec<f64> {
    let mut way: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let share = step.inverse * dot(&step.point, &way);
        add(&mut way, -share, &step.gradient);
        shares.push(share);
    }
    let scale = match steps.last() {
        Some(step) => 1.0 / (step.inverse * dot(&step.gradient, &step.gradient)),
        None => 1.0 / dot(gradient, gradient).sqrt().max(1.0),
    };
    way.iter_mut().for_each(|value| *value *= scale);
    for (step, share) in steps.iter().zip(shares.into_iter().rev()) {
        let correction = share - step.inverse * dot(&step.gradient, &way);
        add(&mut way, correction, &step.point);
    }
    way
}

/// Moves `point` to where `function`, which writes its gradient to its second argument, is smallest. Ends when no part of the gradient
/// is larger than `tolerance`, after `most` steps, or when no step goes lower.
pub fn minimise(
    point: &mut Vec<f64>,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    tolerance: f64,
    most: usize,
) {
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(point, &mut gradient);
    let mut steps: Vec<Step> = Vec::with_capacity(MEMORY);
    let (mut next, mut next_gradient) = (point.clone(), gradient.clone());
    for _ in 0..most {
        if gradient.iter().all(|g| g.abs() <= tolerance) {
            return;
        }
        let mut way = direction(&gradient, &steps);
        let mut slope = dot(&way, &gradient);
        if slope >= 0.0 {
            // Rounding has spoilt what the steps say.
            steps.clear();
            way = direction(&gradient, &steps);
            slope = dot(&way, &gradient);
        }
        let mut length = 1.0;
        let mut lower = false;
        for _ in 0..HALVINGS {
            next.copy_from_slice(point);
            add(&mut next, length, &way);
            let there = function(&next, &mut next_gradient);
            if there <= value + ARMIJO * length * slope {
                (value, lower) = (there, true);
                break;
            }
            length /= 2.0;
        }
        if !lower {
            return;
        }
        let moved: Vec<f64> = next.iter().zip(point.iter()).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let product = dot(&moved, &turned);
        if product > f64::EPSILON * dot(&turned, &turned) {
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push(Step { point: moved, gradient: turned, inverse: 1.0 / product });
        }
        std::mem::swap(point, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_bowl_has_its_lowest_point_where_it_should() {
        let stretch: Vec<f64> = (0..20).map(|i| 1.5f64.powi(i)).collect();
        let mut point = vec![0.0; 20];
        let mut calls = 0;
        let bowl = |point: &[f64], gradient: &mut [f64]| {
            calls += 1;
            let off = |i: usize| point[i] - i as f64;
            (0..20).for_each(|i| gradient[i] = stretch[i] * off(i));
            (0..20).map(|i| 0.5 * stretch[i] * off(i).powi(2)).sum()
        };
        minimise(&mut point, bowl, 1e-9, 500);
        for (i, at) in point.iter().enumerate() {
            assert!((at - i as f64).abs() < 1e-8, "{i}: {at} after {calls} calls");
        }
        assert!(calls < 500, "{calls}");
    }
}
