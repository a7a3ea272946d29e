//! `convert`: what was written gives the same bits as what was read.

use vit_gpu::internals::checkpoint::{Checkpoint, Storage};
use vit_gpu::{Device, Outputs, Session};

use crate::compare::distance;
use crate::models::{golden, models, open};

fn run(checkpoint: Checkpoint, pixels: &[f32]) -> Outputs {
    let options = Session::builder().device(Device::Cpu);
    options.build(checkpoint).unwrap().forward(pixels, true).unwrap()
}

#[test]
fn every_model_converts_without_losing_a_bit() {
    for folder in models() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let checkpoint = open(&folder);
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let written = tempfile::tempdir().unwrap();
        checkpoint.save(written.path(), Storage::AsSource).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again =
            Checkpoint::open(written.path().to_str().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (again.family, &again.config, &again.transform),
            ("canonical", &checkpoint.config, &checkpoint.transform)
        );
        assert_eq!((&again.labels, again.ignored.len()), (&checkpoint.labels, 0), "{name}");
        let want = run(checkpoint.clone(), &pixels);
        assert_eq!(run(again, &pixels), want, "{name}");

        let half = tempfile::tempdir().unwrap();
        checkpoint.save(half.path(), Storage::F16).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = Checkpoint::open(half.path().to_str().unwrap()).unwrap();
        assert_eq!(again.dtypes, ["F16"], "{name}");
        for (got, want) in run(again, &pixels).0.iter().zip(&want.0) {
            let far = distance(&got.values, &want.values).unwrap();
            assert!(far < 1e-2, "{name}: {} in f16 is off by {far:e}", got.name);
        }
    }
}

#[test]
fn a_folder_that_has_a_model_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::bundled().unwrap();
    checkpoint.save(folder.path(), Storage::Bf16).unwrap();
    let before = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let error = checkpoint.save(folder.path(), Storage::F32).unwrap_err().to_string();
    assert!(error.contains("model.safetensors is there already"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("model.safetensors")).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// A plain model keeps timm's names and shapes, so that timm reads it too.
#[test]
fn a_plain_model_is_timms() {
    let folder = tempfile::tempdir().unwrap();
    let source = crate::models::goldens().join("models/hf_vit");
    Checkpoint::open(source.to_str().unwrap()).unwrap().save(folder.path(), Storage::AsSource).unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"num_heads": 3, "eps": 1e-12, "img_size": [24, 16]}"#)
        .unwrap();
    let checkpoint = Checkpoint::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(checkpoint.family, "timm");
    let (_, pixels) = golden(&source, "pixel_values").unwrap();
    assert_eq!(run(checkpoint, &pixels), run(open(&source), &pixels));
}
