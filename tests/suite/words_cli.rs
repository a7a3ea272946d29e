//! `classify --labels` and `embed --text`: labels in words, as a user gives them.

use std::fs;

use serde_json::Value;
use vit_gpu::internals::checkpoint::Tensors;
use vit_gpu::{Device, Image, Model, Orient, Session, TextEmbedder, ZeroShot};

use crate::cli::{fails, run, stdout};
use crate::compare::missing;
use crate::models::goldens;
use crate::outputs::{lines, photos, start, wait_for_rows};
use crate::words::folder;

fn model(name: &str) -> String {
    folder(name).to_str().unwrap().to_owned()
}

fn image() -> String {
    goldens().join("words/image0.png").to_str().unwrap().to_owned()
}

fn session(name: &str) -> Session {
    Session::builder().device(Device::Cpu).build(Model::open(folder(name)).unwrap()).unwrap()
}

#[test]
fn labels_are_classes() {
    for (name, sum) in [("hf_clip", 1.0), ("open_clip", 1.0), ("hf_siglip", 0.0)] {
        let (model, image) = (model(name), image());
        let output =
            run(&["classify", &image, "-m", &model, "-d", "cpu", "--labels", "cat, dog ,,two parrots", "-f", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let got = json[0]["predictions"].as_array().unwrap();
        let zero_shot = ZeroShot::new(session(name), &["cat", "dog", "two parrots"]).unwrap();
        let image = Image::decode(&fs::read(&image).unwrap(), "image", Orient::Exif).unwrap();
        let want = zero_shot.classify(&image).unwrap();
        for (got, want) in got.iter().zip(&want) {
            assert_eq!((&got["index"], &got["label"]), (&want.index.into(), &want.label.as_deref().into()));
            // Scores are f32; reading JSON may round the last bit of an f64.
            assert_eq!(got["score"].as_f64().unwrap() as f32, want.score);
        }
        assert_eq!(got.len(), want.len());
        let total: f64 = got.iter().map(|class| class["score"].as_f64().unwrap()).sum();
        assert!(if sum == 1.0 { (total - 1.0).abs() < 1e-6 } else { total < 0.9 }, "{name}: {total}");
    }
}

#[test]
fn labels_come_from_files_and_are_sorted_into_folders() {
    let there = tempfile::tempdir().unwrap();
    let list = there.path().join("labels.txt");
    fs::write(&list, "cat\r\n\n  dog, small \n").unwrap();
    let (model, image, list) = (model("hf_siglip"), image(), list.to_str().unwrap());
    let sorted = there.path().join("sorted");
    let args = [
        "classify",
        &image,
        "-m",
        &model,
        "-d",
        "cpu",
        "--labels-file",
        list,
        "--template",
        "a {}",
        "--template",
        "the {}",
    ];
    let output = run(&[&args[..], &["-f", "csv", "-k", "1", "--sort-into", sorted.to_str().unwrap()]].concat());
    let text = stdout(&output);
    let best = if text.contains("\"dog, small\"") { "dog, small" } else { "cat" };
    assert!(text.lines().count() == 2 && text.contains(best), "{text}");
    assert!(sorted.join(best).join("image0.png").exists());
    // SigLIP's scores are each label's own: none need reach a threshold.
    let text = stdout(&run(&[&args[..], &["--threshold", "0.99"]].concat()));
    assert!(text.ends_with("  no class has a score of 0.99 or more\n"), "{text}");
    let text = stdout(&run(&args));
    assert!(text.lines().count() == 3 && text.contains(" %  cat"), "{text}");
}

#[test]
fn mistakes_are_named() {
    let (model, image) = (model("hf_clip"), image());
    let with = |more: &[&str], reason: &str| {
        fails(&[&["classify", &image, "-m", &model, "-d", "cpu"], more].concat(), 2, reason)
    };
    with(&["--labels", " , "], "--labels names no label");
    with(&["--labels", "a", "--template", "a photo"], "--template \"a photo\" has no {} for the label");
    with(&["--template", "{}"], "--template needs --labels or --labels-file");
    with(&["--labels-file", "no/file"], &format!("no/file: {}", missing("no/file")));
    with(&["--labels", "a", "--labels-file", "b"], "cannot be used with");
    let plain = ["classify", "assets/cat.png", "-d", "cpu", "--labels", "a"];
    fails(&plain, 2, "vit-nano-cifar10 can't read texts: it has no text half: name a CLIP or SigLIP model");
    fails(&["embed", "--text", "a", "-d", "cpu"], 2, "can't read texts");
    fails(&["embed", "--text", "a", &image], 2, "cannot be used with");
    fails(&["embed"], 2, "required arguments");
    fails(&["embed", "--text", "a", "--of", "tokens", "-m", &model], 2, "cannot be used with");
}

#[test]
fn texts_are_embedded_in_every_format() {
    let there = tempfile::tempdir().unwrap();
    let texts = ["a cat", "a, \"dog\""];
    let model = model("openai");
    let want = TextEmbedder::new(session("openai")).unwrap().normalized(true).embed_batch(&texts).unwrap();
    let args = ["embed", "--text", texts[0], "--text", texts[1], "-m", &model, "-d", "cpu", "--normalize"];
    let rows: Vec<Value> = stdout(&run(&args)).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for ((row, text), vector) in rows.iter().zip(texts).zip(&want) {
        let values: Vec<f32> = serde_json::from_value(row["embedding"].clone()).unwrap();
        assert_eq!((&row["text"], &values), (&text.into(), vector));
        assert!(row["model"] == model && row["device"] == "cpu" && row["image"].is_null());
    }
    let write = |name: &str| {
        let path = there.path().join(name);
        let output = run(&[&args[..], &["-o", path.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        path
    };
    assert_eq!(lines(&write("x.jsonl")), rows);
    let bytes: Vec<u8> = want.concat().iter().flat_map(|value| value.to_le_bytes()).collect();
    assert!(fs::read(write("x.npy")).unwrap().ends_with(&bytes));
    let tensors = Tensors::open(&write("x.safetensors")).unwrap();
    assert_eq!(tensors.values("embeddings").unwrap(), (vec![2, want[0].len()], want.concat()));
    let table = fs::read_to_string(write("x.csv")).unwrap();
    assert!(table.starts_with("text,error,0,1,") && table.contains("\n\"a, \"\"dog\"\"\",,"), "{table}");
    for name in ["x.npz", "x.parquet"] {
        let bytes = fs::read(write(name)).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("text") && holds(texts[0]) && holds(texts[1]), "{name}");
    }
}

/// Labels and templates belong to what rows were made with.
#[test]
fn other_labels_do_not_resume_a_run() {
    let there = tempfile::tempdir().unwrap();
    let photos = photos(there.path(), 400);
    let (path, model) = (there.path().join("x.jsonl"), model("hf_clip"));
    let args = |labels| ["classify", &photos, "-m", &model, "--labels", labels];
    let mut child = start(&args("cat,dog"), &path);
    wait_for_rows(&there.path().join("x.jsonl.state"), 900);
    child.kill().unwrap();
    child.wait().unwrap();
    let more = ["-d", "cpu", "--batch-size", "1", "--resume", "-o", path.to_str().unwrap()];
    fails(&[&args("cat,cow")[..], &more].concat(), 2, "--labels was cat,dog, and is cat,cow now");
    let other = [&args("cat,dog")[..], &more, &["--template", "a {}"]].concat();
    fails(&other, 2, "--template was This is a photo of {}., and is a {} now");
    assert_eq!(run(&[&args("cat,dog")[..], &more].concat()).status.code(), Some(1));
    assert_eq!(lines(&path).len(), 402);
}
