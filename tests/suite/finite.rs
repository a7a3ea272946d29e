//! A result that is not finite is an error for its image alone: never a label, a null, a row.

use std::fs;
use std::path::Path;

use serde_json::Value;
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::{Device, Error, Precision, Session};

use crate::checkpoints::{read_map, write_model};
use crate::cli::{fails, run, stdout};
use crate::device;
use crate::models::goldens;

/// A copy of a golden model of tests/goldens/scores with one value of a tensor replaced.
fn with_value(folder: &Path, tensor: &str, at: usize, value: f32) -> String {
    let source = goldens().join("scores/several");
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let mut map = read_map(&source.join("model.safetensors"));
    let bytes = &mut map.get_mut(tensor).unwrap_or_else(|| panic!("no tensor `{tensor}`")).2;
    bytes[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    write_model(&folder.join("model.safetensors"), &map);
    folder.to_str().unwrap().to_owned()
}

/// The processor in f32 and i8, the adapter in f32 and f16.
fn sessions(model: &str) -> Vec<Session> {
    let gpu: Device = device::name().parse().unwrap();
    let all = [
        (Device::Cpu, Precision::F32),
        (Device::Cpu, Precision::I8),
        (gpu.clone(), Precision::F32),
        (gpu, Precision::F16),
    ];
    let open = |(device, precision)| {
        let options = Session::builder().device(device).precision(precision);
        match options.build(Checkpoint::open(model).unwrap()) {
            Err(Error::Device { .. }) if precision == Precision::F16 => None,
            session => Some(session.unwrap()),
        }
    };
    all.into_iter().filter_map(open).collect()
}

#[test]
fn weights_that_are_no_numbers_give_no_result_on_any_device() {
    let image = vit_gpu::Image::open(goldens().join("scores/image.png")).unwrap();
    let images = std::slice::from_ref(&image);
    // One bad value in every tensor of the encoder, and an infinity where one may look like a strong opinion.
    let source = read_map(&goldens().join("scores/several/model.safetensors"));
    let tensors = source.keys().filter(|name| !name.starts_with("classifier"));
    let cases = tensors.flat_map(|name| [(name, f32::NAN), (name, f32::NEG_INFINITY)]);
    for (tensor, value) in cases {
        let folder = tempfile::tempdir().unwrap();
        let model = with_value(folder.path(), tensor, 3, value);
        for session in sessions(&model) {
            let what = format!("{tensor} {value} on {} in {}", session.device(), session.precision());
            for error in [session.classify(images, 5).expect_err(&what), session.embed(images).expect_err(&what)] {
                assert!(matches!(error, Error::NotFinite { row: 0, .. }), "{what}: {error}");
                let said = error.to_string();
                assert!(said.contains("weight `") && said.contains("holds a NaN"), "{what}: {said}");
            }
            let error = session.forward(&[0.5; 3 * 16 * 16], true).expect_err(&what);
            assert!(matches!(error, Error::NotFinite { row: 0, .. }), "{what}: {error}");
        }
    }
}

/// A head that is not finite costs the labels, not the vectors, which do not pass through it.
#[test]
fn an_infinite_head_costs_labels_alone() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_value(folder.path(), "classifier.bias", 2, f32::INFINITY);
    let image = vit_gpu::Image::open(goldens().join("scores/image.png")).unwrap();
    for session in sessions(&model) {
        let error = session.classify(std::slice::from_ref(&image), 1).unwrap_err().to_string();
        assert!(error.starts_with("row 0 of the batch: `logits` is not finite in"), "{error}");
        assert!(session.embed(std::slice::from_ref(&image)).unwrap()[0].iter().all(|value| value.is_finite()));
    }
}

/// White overflows in this model, black does not.
#[test]
fn one_image_fails_and_the_others_keep_their_results() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_value(folder.path(), "vit.embeddings.patch_embeddings.projection.weight", 3, 3e38);
    let processor = folder.path().join("preprocessor_config.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&processor).unwrap()).unwrap();
    (json["image_mean"], json["image_std"]) =
        (serde_json::json!([0.0, 0.0, 0.0]), serde_json::json!([1e-3, 1e-3, 1e-3]));
    fs::write(&processor, json.to_string()).unwrap();
    let image = |name: &str, level: u8| {
        let path = folder.path().join(name);
        let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 16, 16);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&[level; 16 * 16 * 3]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (black, white, last) = (image("black.png", 0), image("white.png", 255), image("last.png", 0));
    let why =
        "white.png: `pooled` is not finite in f32: the input, or what is computed from it, holds a NaN or an infinity";
    let common = ["-d", "cpu", "-m", &model];
    let output = run(&[&["classify", &black, &white, &last, "-f", "jsonl"], &common[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["predictions"], lines[2]["predictions"]);
    assert!(lines[0]["predictions"][0]["score"].is_f64(), "{lines:?}");
    assert!(lines[1]["error"].as_str().unwrap().contains(why), "{lines:?}");
    for format in ["text", "csv"] {
        let arguments = [&["classify", &black, &white, "-f", format], &common[..]].concat();
        fails(&arguments, 1, why);
        assert!(!stdout(&run(&arguments)).lines().any(|line| line.contains("NaN %") || line.contains(",NaN")));
    }
    for of in ["pooled", "tokens", "patches"] {
        let output = run(&[&["embed", &black, &white, "--normalize", "--of", of], &common[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{of}");
        let text = stdout(&output);
        assert!(text.lines().count() == 2 && !text.contains("null") && text.contains("\"error\""), "{of}: {text}");
    }
    let (input, out) = (folder.path().join("x.safetensors"), folder.path().join("y.safetensors"));
    let (input, out) = (input.to_str().unwrap(), out.to_str().unwrap());
    assert!(run(&["preprocess", &white, "-m", &model, "-o", input]).status.success());
    fails(&[&["forward", "-i", input, "-o", out], &common[..]].concat(), 1, "row 0 of the batch: `");
    assert!(!Path::new(out).exists());
    let gpu = device::name();
    fails(&["bench", "-m", &model, "-d", "cpu", "--batch-size", "1", "--runs", "1"], 1, "is not finite in f32");
    let verify = run(&["verify", &white, "-m", &model, "-d", &gpu, "-q"]);
    assert_eq!(verify.status.code(), Some(1));
    assert!(stdout(&verify).contains("FAILED") && stdout(&verify).contains("the reference result of the processor"));
}

#[test]
fn a_normalisation_that_divides_by_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_value(folder.path(), "classifier.bias", 2, 0.0);
    let processor = folder.path().join("preprocessor_config.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&processor).unwrap()).unwrap();
    json["image_std"] = serde_json::json!([0.5, 0.0, 0.5]);
    fs::write(&processor, json.to_string()).unwrap();
    let (image, out) = (goldens().join("scores/image.png"), folder.path().join("x.safetensors"));
    let (image, out) = (image.to_str().unwrap(), out.to_str().unwrap());
    fails(&["preprocess", image, "-m", &model, "-o", out], 2, "preprocessing makes pixels that are not finite");
    fails(&["classify", image, "-m", &model, "-d", "cpu"], 2, "preprocessing makes pixels that are not finite");
}
