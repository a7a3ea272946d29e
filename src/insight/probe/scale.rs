//! Standardisation: features with mean 0 and standard deviation 1.

/// The mean and the standard deviation of each feature.
pub struct Scale {
    mean: Vec<f64>,
    /// 1 where all values are the same.
    deviation: Vec<f64>,
}

impl Scale {
    /// Of rows `[N, F]`, all of the same length.
    pub fn of(rows: &[Vec<f32>]) -> Scale {
        let width = rows.first().map_or(0, Vec::len);
        let average = |of: &dyn Fn(&[f32]) -> f64| rows.iter().map(|row| of(row)).sum::<f64>() / rows.len() as f64;
        let mean: Vec<f64> = (0..width).map(|i| average(&|row| f64::from(row[i]))).collect();
        let deviation = |i: usize| {
            let deviation = average(&|row| (f64::from(row[i]) - mean[i]).powi(2)).sqrt();
            // What rounding leaves of a feature that never changes is no deviation.
            if deviation > 1e-7 * mean[i].abs() && deviation > 0.0 { deviation } else { 1.0 }
        };
        Scale { deviation: (0..width).map(deviation).collect(), mean }
    }

    pub fn applied(&self, row: &[f32]) -> Vec<f32> {
        let each = row.iter().zip(self.mean.iter().zip(&self.deviation));
        each.map(|(x, (mean, deviation))| ((f64::from(*x) - mean) / deviation) as f32).collect()
    }

    /// Weights and biases for features as they are, of those for standardised ones.
    pub fn folded(&self, parameters: &[f64], count: usize) -> (Vec<f32>, Vec<f32>) {
        let (weights, biases) = parameters.split_at(count * self.mean.len());
        let mut folded: Vec<f32> = Vec::with_capacity(weights.len());
        let mut moved = biases.to_vec();
        for (weights, bias) in weights.chunks_exact(self.mean.len()).zip(&mut moved) {
            for (w, (mean, deviation)) in weights.iter().zip(self.mean.iter().zip(&self.deviation)) {
                folded.push((w / deviation) as f32);
                *bias -= w * mean / deviation;
            }
        }
        (folded, moved.into_iter().map(|bias| bias as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_weights_give_the_same_scores() {
        let rows = [vec![1.0, 10.0, 5.0], vec![3.0, 30.0, 5.0], vec![8.0, -10.0, 5.0]];
        let scale = Scale::of(&rows);
        let parameters = [1.0, -2.0, 3.0, 0.5, 0.25, 4.0, 0.1, -0.2];
        let (weights, biases) = scale.folded(&parameters, 2);
        for row in &rows {
            for k in 0..2 {
                let plain: f64 =
                    scale.applied(row).iter().zip(&parameters[3 * k..]).map(|(x, w)| f64::from(*x) * w).sum();
                let folded: f32 = row.iter().zip(&weights[3 * k..]).map(|(x, w)| x * w).sum();
                assert!((plain + parameters[6 + k] - f64::from(folded + biases[k])).abs() < 1e-4);
            }
        }
        assert_eq!(scale.applied(&rows[0])[2], 0.0);
    }
}
