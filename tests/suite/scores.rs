//! Scores are what transformers' image-classification pipeline shows (tests/goldens/scores.py wrote the expectations).

use std::fs;

use serde_json::Value;
use vit_gpu::internals::checkpoint::{Checkpoint, Storage};
use vit_gpu::internals::labels::Scores;
use vit_gpu::{Image, Prediction};

use crate::cli::{fails, run, stdout};
use crate::models::{goldens, sessions};

fn expected() -> serde_json::Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(goldens().join("scores/expected.json")).unwrap()).unwrap()
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(goldens().join("scores").join(name).to_str().unwrap()).unwrap()
}

#[track_caller]
fn agree(got: &[Prediction], want: &Value, what: &str) {
    let want = want.as_array().unwrap();
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert_eq!(format!("LABEL_{}", got.index), want["label"].as_str().unwrap(), "{what}");
        let score = want["score"].as_f64().unwrap();
        assert!((f64::from(got.score) - score).abs() <= 1e-4 + 1e-4 * score.abs(), "{what}: {} for {score}", got.score);
    }
}

#[test]
fn every_problem_type_is_scored_as_the_pipeline_does() {
    let image = Image::open(goldens().join("scores/image.png")).unwrap();
    for (name, want) in expected() {
        for (device, session) in sessions(&open(&name)) {
            agree(
                &session.classify(std::slice::from_ref(&image), 5).unwrap()[0],
                &want,
                &format!("{name} on {device}"),
            );
        }
    }
}

#[test]
fn converted_models_keep_their_scores() {
    for (name, scores) in [("several", Scores::Sigmoid), ("regression", Scores::Raw), ("one_class", Scores::Sigmoid)] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = open(name);
        assert_eq!(checkpoint.labels.scores(), scores, "{name}");
        checkpoint.save(folder.path(), Storage::AsSource).unwrap();
        assert_eq!(Checkpoint::open(folder.path().to_str().unwrap()).unwrap().labels.scores(), scores, "{name}");
    }
}

#[test]
fn regressions_are_printed_as_numbers_and_unknown_problems_are_refused() {
    let folder = goldens().join("scores");
    let image = folder.join("image.png");
    let image = image.to_str().unwrap();
    let text =
        stdout(&run(&["classify", image, "-d", "cpu", "-k", "1", "-m", folder.join("regression").to_str().unwrap()]));
    assert_eq!(text.lines().nth(1), Some("      3.2105  LABEL_4"), "{text}");
    let text = stdout(&run(&["classify", image, "-d", "cpu", "-m", folder.join("one_class").to_str().unwrap()]));
    assert_eq!(text.lines().nth(1), Some("    5.3 %  LABEL_0"), "{text}");

    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder.join("several/model.safetensors"), copy.path().join("model.safetensors")).unwrap();
    let config = fs::read_to_string(folder.join("several/config.json")).unwrap();
    for problem in ["\"several\"", "3"] {
        let broken = config.replace("\"multi_label_classification\"", problem);
        fs::write(copy.path().join("config.json"), broken).unwrap();
        let model = copy.path().to_str().unwrap();
        fails(
            &["classify", image, "-d", "cpu", "-m", model],
            2,
            &format!("`problem_type` is {problem}; transformers has"),
        );
    }
}
