//! Whether predictions are right as often as their confidence says.

use super::judged::Judged;

/// Images whose confidence lies in one range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Where the range begins; this confidence belongs to it.
    pub from: f64,
    /// Where it ends; this confidence does not belong to it, except in the bin of those that are exactly 1.
    pub to: f64,
    /// How many images there are.
    pub count: usize,
    /// The share of them whose prediction is right; 0 without images.
    pub accuracy: f64,
    /// Their mean confidence; 0 without images.
    pub confidence: f64,
}

/// Sorts images by confidence into `count` ranges of equal width (15 in torchmetrics). One more bin has the images whose confidence
/// is exactly 1, as in torchmetrics.
#[must_use]
pub fn calibration(judged: &[Judged], count: usize) -> Vec<Bin> {
    let border = |i: usize| i as f64 / count as f64;
    let bin = |i: usize| {
        let (from, to) = (border(i) as f32, border(i + 1) as f32);
        let within = |image: &&Judged| image.confidence >= from && (image.confidence < to || i == count);
        let images: Vec<&Judged> = judged.iter().filter(within).collect();
        let mean = |of: fn(&Judged) -> f64| images.iter().map(|i| of(i)).sum::<f64>() / images.len().max(1) as f64;
        Bin {
            from: border(i),
            to: border(i + 1).min(1.0),
            count: images.len(),
            accuracy: mean(|image| f64::from(u8::from(image.rank == 0))),
            confidence: mean(|image| f64::from(image.confidence)),
        }
    };
    (0..=count).map(bin).collect()
}

/// The expected calibration error: how far accuracy and confidence are apart, on average over all images; from 0 to 1.
#[must_use]
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let images: usize = bins.iter().map(|bin| bin.count).sum();
    let sum: f64 = bins.iter().map(|bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs()).sum();
    sum / images.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_belong_to_the_upper_bin_and_1_has_its_own() {
        let image = |confidence, rank| Judged { class: 0, predicted: rank, rank, confidence, loss: 0.0 };
        let bins = calibration(&[image(0.5, 0), image(0.4999, 1), image(1.0, 0), image(0.99, 1)], 2);
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!((bins[2].from, bins[2].to, bins[2].accuracy), (1.0, 1.0, 1.0));
        assert_eq!(bins[1].accuracy, 0.5);
        assert_eq!(expected_calibration_error(&calibration(&[], 15)), 0.0);
    }
}
