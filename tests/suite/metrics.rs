//! Figures against scikit-learn's and torchmetrics' (`tests/goldens/metrics.py`), and a logistic regression against scikit-learn's.

use serde_json::Value;
use vit_gpu::insight::metrics::{
    Confusion, Figures, Judged, Means, MultiLabel, accuracy, calibration, cross_entropy, expected_calibration_error,
};
use vit_gpu::insight::{Training, folds, train_linear};

use crate::models::goldens;

const CLOSE: f64 = 1e-6;

fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(goldens().join("insight/metrics.json")).unwrap()).unwrap()
}

fn rows<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn close(what: &str, got: f64, want: &Value) {
    let want = want.as_f64().unwrap_or_else(|| panic!("{what}: {want}"));
    assert!((got - want).abs() <= CLOSE, "{what}: {got}, {want} expected");
}

fn figures(got: &Figures, want: &Value) {
    let all = [("precision", got.precision), ("recall", got.recall), ("f1", got.f1), ("support", got.support as f64)];
    for (i, (name, value)) in all.into_iter().enumerate() {
        close(name, value, &want[i]);
    }
}

fn means(got: &Means, want: &Value) {
    for (name, mean) in [("macro", got.macro_mean), ("micro", got.micro_mean), ("weighted", got.weighted_mean)] {
        for (i, value) in [mean.precision, mean.recall, mean.f1].into_iter().enumerate() {
            close(name, value, &want[name][i]);
        }
    }
}

#[test]
fn figures_of_single_labels_are_those_of_scikit_learn() {
    for want in golden()["single"].as_array().unwrap() {
        let (logits, truth): (Vec<Vec<f32>>, Vec<usize>) = (rows(&want["logits"]), rows(&want["truth"]));
        let judged: Vec<Judged> =
            logits.iter().zip(&truth).map(|(logits, class)| Judged::of(logits, *class).unwrap()).collect();
        close("top-1", accuracy(&judged, 1), &want["top1"]);
        close("top-5", accuracy(&judged, 5), &want["top5"]);
        close("cross-entropy", cross_entropy(&judged), &want["cross_entropy"]);
        let bins = calibration(&judged, 15);
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), judged.len());
        close("calibration error", expected_calibration_error(&bins), &want["calibration_error"]);
        let confusion = Confusion::of(&judged);
        let classes: Vec<usize> = rows(&want["classes"]);
        assert_eq!(confusion.classes(), classes);
        for (i, class) in classes.iter().enumerate() {
            for (j, predicted) in classes.iter().enumerate() {
                assert_eq!(confusion.get(*class, *predicted), want["confusion"][i][j].as_u64().unwrap());
            }
        }
        let each = confusion.figures();
        assert_eq!(each.len(), want["per_class"].as_array().unwrap().len());
        for ((class, got), (want, expected)) in
            each.iter().zip(want["per_class"].as_array().unwrap().iter().zip(&classes))
        {
            assert_eq!(class, expected);
            figures(got, want);
        }
        means(&confusion.means(), &want["means"]);
        let mistakes: u64 = confusion.mistakes().iter().map(|(.., count)| count).sum();
        assert_eq!(mistakes as usize, judged.iter().filter(|image| image.rank > 0).count());
    }
}

#[test]
fn figures_of_several_labels_are_those_of_scikit_learn() {
    let want = &golden()["several"];
    let got =
        MultiLabel::of(&rows::<Vec<Vec<f32>>>(&want["logits"]), &rows::<Vec<Vec<usize>>>(&want["truth"])).unwrap();
    assert_eq!(got.labels.len(), want["per_label"].as_array().unwrap().len());
    for (i, (each, precision)) in got.labels.iter().enumerate() {
        figures(each, &want["per_label"][i]);
        close("average precision", *precision, &want["average_precision"][i]);
    }
    means(&got.means, &want["means"]);
    close("mAP", got.mean_average_precision, &want["mean_average_precision"]);
    close("exact match", got.exact_match, &want["exact_match"]);
}

/// The search ends where the gradient is small, so probabilities agree to a few digits.
#[test]
fn a_logistic_regression_is_that_of_scikit_learn() {
    let want = &golden()["regression"];
    let (features, truth): (Vec<Vec<f32>>, Vec<usize>) = (rows(&want["features"]), rows(&want["truth"]));
    for (c, probabilities) in want["probabilities"].as_object().unwrap() {
        let training = Training { grid: vec![c.parse().unwrap()], folds: folds(&truth, 2, 0).unwrap() };
        let trained = train_linear(&features, &truth, 3, &training).unwrap();
        let (weights, biases) = (trained.classifier.weights(), trained.classifier.biases());
        for (row, want) in features.iter().zip(probabilities.as_array().unwrap()) {
            let logits: Vec<f64> = (0..3)
                .map(|k| {
                    let products = row.iter().zip(&weights[k * row.len()..]);
                    products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>() + f64::from(biases[k])
                })
                .collect();
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            for (k, logit) in logits.iter().enumerate() {
                let (got, want) = (logit.exp() / sum, want[k].as_f64().unwrap());
                assert!((got - want).abs() < 5e-3, "C {c}: {got}, {want} expected");
            }
        }
    }
}

#[test]
fn the_best_c_is_the_smallest_of_the_best() {
    // One feature that tells the classes apart, whatever the penalty.
    let features: Vec<Vec<f32>> = (0..20).map(|i| vec![if i % 2 == 0 { -1.0 } else { 1.0 }, 0.5]).collect();
    let classes: Vec<usize> = (0..20).map(|i| i % 2).collect();
    let training = Training { grid: vec![10.0, 0.1, 1.0], folds: folds(&classes, 2, 0).unwrap() };
    let trained = train_linear(&features, &classes, 2, &training).unwrap();
    assert_eq!(trained.accuracies, [(0.1, 1.0), (1.0, 1.0), (10.0, 1.0)]);
    assert_eq!(trained.c, 0.1);
}

#[test]
fn examples_that_can_not_be_trained_on_are_refused() {
    let rows = |value: f32| vec![vec![1.0, value], vec![2.0, 3.0], vec![3.0, 1.0], vec![0.0, 5.0]];
    let said = |features: &[Vec<f32>], classes: &[usize], count, training: &Training| {
        train_linear(features, classes, count, training).unwrap_err().to_string()
    };
    let good = Training { grid: vec![1.0], folds: vec![0, 1, 0, 1] };
    assert!(said(&rows(f32::NAN), &[0, 0, 1, 1], 2, &good).contains("row 0 of the features is not finite"));
    assert!(said(&rows(1.0), &[0, 0, 0, 0], 1, &good).contains("two or more"));
    assert!(said(&rows(1.0), &[0, 0, 0, 0], 2, &good).contains("class 1 has no examples"));
    assert!(said(&rows(1.0), &[0, 0, 2, 1], 2, &good).contains("class 2: there are 2 classes"));
    assert!(said(&rows(1.0), &[0, 1], 2, &good).contains("4 rows of features, 2 classes"));
    assert!(said(&[vec![1.0], vec![1.0, 2.0]], &[0, 1], 2, &good).contains("the same length"));
    assert!(said(&rows(1.0), &[0, 0, 1, 1], 2, &Training { grid: vec![0.0], ..good.clone() }).contains("above 0"));
    assert!(said(&rows(1.0), &[0, 0, 1, 1], 2, &Training { grid: vec![], ..good.clone() }).contains("above 0"));
    assert!(said(&rows(1.0), &[0, 0, 1, 1], 2, &Training { folds: vec![0; 4], ..good }).contains("1 folds"));
}
