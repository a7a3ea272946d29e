//! Heads: trained, measured, written, used, and refused.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vit_gpu::insight::{Features, Head, HeadKind, Linear, Neighbours};
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::{Device, Error, Image, Model, Session};

use crate::checkpoints::{read_map, write_model};
use crate::cli::{command, fails, run, stdout};
use crate::compare::{MODEL, assert_close};
use crate::device;
use crate::eval::picture;
use crate::models::{goldens, sessions};

const CLASSES: [(&str, [u8; 3]); 3] = [("red", [200, 10, 10]), ("green", [10, 200, 10]), ("blue", [10, 10, 200])];

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(goldens().join("models").join(name).to_str().unwrap()).unwrap()
}

/// Photos of three colours.
fn photos(folder: &Path, each: usize) -> String {
    for (name, colour) in CLASSES {
        (0..each).for_each(|i| picture(&folder.join(name).join(format!("{i}.ppm")), colour, i));
    }
    folder.to_str().unwrap().to_owned()
}

/// Runs `probe` with a cache of its own.
fn probe(cache: &Path, args: &[&str]) -> std::process::Output {
    command(&[&["probe", "-d", "cpu"], args].concat()).env("VIT_GPU_CACHE", cache).output().unwrap()
}

fn report(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn features_are_parts_of_the_last_hidden_state_on_every_device() {
    let cat = Image::open(device::root().join("assets/cat.png")).unwrap();
    let images = std::slice::from_ref(&cat);
    let mut all = Vec::new();
    for (_, session) in sessions(&open("timm_registers")) {
        let model = session.model();
        let (count, width) = model.token_shape();
        let patches = model.patch_grid().0 * model.patch_grid().1;
        let tokens = session.tokens(images, None).unwrap().remove(0);
        let of = |features: Features| features.of(&session, images).unwrap().remove(0).unwrap();
        assert_eq!(of(Features::Class), tokens[..width]);
        let mean: Vec<f32> = (0..width)
            .map(|i| (count - patches..count).map(|token| tokens[token * width + i]).sum::<f32>() / patches as f32)
            .collect();
        assert_close("mean", &of(Features::Mean), &mean, MODEL);
        let both = of(Features::Both);
        assert_eq!(both, [of(Features::Class), of(Features::Mean)].concat());
        for features in [Features::Class, Features::Mean, Features::Both] {
            assert_eq!(features.out_of(model, &both).unwrap(), of(features));
            assert_eq!(features.dim(model), of(features).len());
            assert_eq!(Features::named(features.name()), Some(features));
        }
        all.push(both);
    }
    assert_close("adapter", &all[1], &all[0], MODEL);
    let session = Session::builder().device(Device::Cpu).build(open("timm_prenorm_avg")).unwrap();
    assert_eq!(Features::all(session.model()), Features::Mean);
    let error = Features::Class.of(&session, images).unwrap_err();
    assert!(error.to_string().contains("no class token"), "{error}");
}

#[test]
fn a_head_is_what_was_saved_and_belongs_to_its_model() {
    let session = Session::builder().device(Device::Cpu).build(open("timm_plain")).unwrap();
    let width = session.model().token_shape().1;
    let labels = || vec!["a".to_owned(), "b, c".to_owned()];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    let weights: Vec<f32> = (0..2 * width).map(|i| i as f32 / 7.0).collect();
    let rows: Vec<Vec<f32>> = weights.chunks(width).map(<[f32]>::to_vec).collect();
    let cat = Image::open(device::root().join("assets/cat.png")).unwrap();
    for kind in [
        HeadKind::Linear(Linear::new(weights.clone(), vec![0.5, -0.5]).unwrap()),
        HeadKind::Neighbours(Neighbours::new(&rows, &[1, 0], 2, 1).unwrap()),
    ] {
        let head = Head::new(&session, Features::Class, labels(), kind).unwrap();
        head.save(&path).unwrap();
        let read = Head::open(&path).unwrap();
        assert_eq!((read.labels(), read.features(), read.model()), (&labels()[..], Features::Class, head.model()));
        // Examples are scaled to length 1 once more, which may change the last bit.
        let features = vec![0.25; width];
        assert_close("logits", &read.logits(&features).unwrap(), &head.logits(&features).unwrap(), MODEL);
        read.check(&session).unwrap();
        let best = read.classify(&session, std::slice::from_ref(&cat), 9).unwrap().remove(0).unwrap();
        assert_eq!(best.len(), 2);
        assert!((best[0].score + best[1].score - 1.0).abs() < 1e-6 && best[0].score >= best[1].score);
        assert!(read.logits(&[1.0]).is_err());
        let other = Session::builder().device(Device::Cpu).build(open("timm_registers")).unwrap();
        let error = read.check(&other).unwrap_err();
        assert!(
            matches!(error, Error::Model { .. }) && error.to_string().contains("made for another model"),
            "{error}"
        );
    }
    let kind = || HeadKind::Linear(Linear::new(vec![1.0, 2.0], vec![0.0, 0.0]).unwrap());
    assert!(
        Head::new(&session, Features::Class, labels(), kind()).unwrap_err().to_string().contains("takes 1 features")
    );
    assert!(Head::new(&session, Features::Class, vec![], kind()).unwrap_err().to_string().contains("0 names for 2"));
    assert!(Linear::new(vec![1.0, f32::NAN], vec![0.0]).is_err() && Linear::new(vec![1.0], vec![]).is_err());
}

#[test]
fn the_same_weights_at_another_size_are_another_model() {
    let session = |size| {
        let model = Model::bundled_at(size).unwrap();
        Session::builder().device(Device::Cpu).build(model).unwrap()
    };
    let kind = HeadKind::Linear(Linear::new(vec![1.0; 256], vec![0.0, 0.0]).unwrap());
    let head = Head::new(&session((32, 32)), Features::Mean, vec!["a".into(), "b".into()], kind).unwrap();
    head.check(&session((32, 32))).unwrap();
    assert!(head.check(&session((40, 40))).is_err());
}

#[test]
fn what_is_no_head_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    let said = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Head::open(&path).unwrap_err().to_string()
    };
    assert!(said(b"text").contains("not a valid safetensors file"));
    let model = fs::read(goldens().join("models/timm_plain/model.safetensors")).unwrap();
    assert!(said(&model).contains("not a head: `vit-gpu probe` writes such files"));
    let head = |change: &[(&str, &str)], classes: usize| {
        let values = vec![0u8; 4 * 2 * classes];
        let view = |shape: &[usize]| {
            let bytes = &values[..4 * shape.iter().product::<usize>()];
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap()
        };
        let mut metadata: HashMap<String, String> = [
            ("format", "vit-gpu head 1"),
            ("labels", "[\"a\",\"b\"]"),
            ("features", "cls"),
            ("model", "m"),
            ("fingerprint", "f"),
            ("kind", "linear"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        metadata.extend(change.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        safetensors::serialize([("weight", view(&[classes, 2])), ("bias", view(&[classes]))], Some(metadata)).unwrap()
    };
    fs::write(&path, head(&[], 2)).unwrap();
    assert_eq!(Head::open(&path).unwrap().labels(), ["a", "b"]);
    for (change, classes, reason) in [
        (("kind", "forest"), 2, "`kind` is `forest`"),
        (("features", "all"), 2, "`features` is `all`"),
        (("labels", "a"), 2, "`labels`: "),
        (("kind", "neighbours"), 2, "features"),
        (("x", "y"), 3, "2 names for 3 classes"),
    ] {
        let error = said(&head(&[change], classes));
        assert!(error.contains("a damaged head: ") && error.contains(reason), "{error}");
    }
    assert!(matches!(Head::open("no/such/head"), Err(Error::Io { .. })));
}

#[test]
fn a_head_is_trained_measured_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let dir = photos(&folder.path().join("photos"), 12);
    let (cache, head) = (folder.path().join("cache"), folder.path().join("head.safetensors"));
    let head = head.to_str().unwrap();
    let page = folder.path().join("report.html");
    let first = probe(&cache, &[&dir, "-o", head, "-f", "json", "--report", page.to_str().unwrap()]);
    let got = report(&first);
    assert_eq!((got["images"].as_u64(), got["top1"].as_f64()), (Some(6), Some(1.0)), "{got}");
    assert_eq!(got["held_out"].as_array().unwrap().len(), 6);
    let folds = got["training"]["folds"].as_array().unwrap();
    assert_eq!(folds.iter().map(|fold| fold.as_array().unwrap().len()).sum::<usize>(), 30);
    assert_eq!(got["training"]["grid"].as_array().unwrap().len(), 10);
    assert!(fs::read_to_string(page).unwrap().contains("Confusion matrix"));

    // The second time, features are from the cache, and the result is the same; other features need no run either.
    let told = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told(&first).contains("cache"));
    let again = probe(&cache, &[&dir, "-o", head, "-f", "json"]);
    assert!(told(&again).contains("the features of 36 of 36 images are from the cache"), "{}", told(&again));
    assert_eq!(report(&again), got);
    let mean = probe(&cache, &[&dir, "-o", head, "-f", "json", "--features", "cls", "--seed", "5"]);
    assert!(told(&mean).contains("36 of 36") && report(&mean)["held_out"] != got["held_out"]);
    let truncated = probe(&cache, &[&dir, "-o", head, "-f", "json", "--truncated"]);
    assert!(!told(&truncated).contains("cache"), "another way to read photos has features of its own");

    for device in ["cpu", &device::name()] {
        let red = format!("{dir}/red/0.ppm");
        let output = run(&["classify", &red, "--head", head, "-d", device, "-f", "json"]);
        let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let predictions = json[0]["predictions"].as_array().unwrap();
        assert_eq!((predictions.len(), &predictions[0]["label"]), (3, &"red".into()), "{device}: {json}");
        let output = run(&["eval", &dir, "--head", head, "-d", device, "-f", "json"]);
        assert_eq!(report(&output)["top1"], 1.0, "{device}");
    }
    let other = goldens().join("models/timm_plain");
    let other = other.to_str().unwrap();
    let red = format!("{dir}/red/0.ppm");
    for args in [&["classify", &red][..], &["eval", &dir]] {
        fails(&[args, &["--head", head, "-m", other, "-d", "cpu"]].concat(), 2, "the head was made for another model");
        fails(&[args, &["--head", "assets/cat.png", "-d", "cpu"]].concat(), 2, "not a valid safetensors file");
    }
}

#[test]
fn neighbours_vote_and_a_second_folder_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let train = photos(&folder.path().join("train"), 4);
    let test = folder.path().join("test");
    for (name, colour) in [("RED", CLASSES[0].1), ("blue", CLASSES[2].1)] {
        (20..23).for_each(|i| picture(&test.join(name).join(format!("{i}.ppm")), colour, i));
    }
    let head = folder.path().join("head.safetensors");
    let args = [&train, "-o", head.to_str().unwrap(), "--test", test.to_str().unwrap(), "-f", "json"];
    let cache = PathBuf::new();
    let got = report(&probe(&cache, &[&args[..], &["--knn", "3"]].concat()));
    assert_eq!((got["images"].as_u64(), got["top1"].as_f64()), (Some(6), Some(1.0)), "{got}");
    assert!(got["classifier"].as_str().unwrap().contains("the 3 most similar"));
    let (shape, _) = Tensors::open(&head).unwrap().values("features").unwrap();
    assert_eq!(shape, [12, 256]);
    let model = goldens().join("models/hf_vit_pooler");
    let without_a_head = [&args[..], &["--knn", "2", "-m", model.to_str().unwrap()]].concat();
    assert_eq!(report(&probe(&cache, &without_a_head))["images"], 6);
    let eval =
        ["eval", &train, "-d", "cpu", "-m", model.to_str().unwrap(), "--head", head.to_str().unwrap(), "-f", "json"];
    assert_eq!(report(&run(&eval))["images"], 12);
}

#[test]
fn mistakes_are_one_line_with_the_right_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let dir = photos(&folder.path().join("photos"), 4);
    let head = folder.path().join("h.safetensors");
    let head = head.to_str().unwrap();
    let no = |args: &[&str], reason: &str| {
        fails(&[&["probe", "-o", head, "-d", "cpu"], args].concat(), 2, reason);
        assert!(!Path::new(head).exists(), "{args:?}");
    };
    fails(&["probe", &dir, "-o", "head.bin"], 2, "--output must end in .safetensors");
    no(&[&dir], "class `blue` has 3 photos to train on that can be read, and --folds 5 needs 5 of each class");
    no(&[&dir, "--folds", "1"], "cross-validation needs 2 or more");
    no(&[&dir, "--knn", "99"], "99 neighbours: there are 9 examples");
    no(&[&dir, "--knn", "0"], "0 neighbours");
    no(&[&dir, "--test-share", "1.5"], "a share between 0 and 1 is held out");
    let no_token = goldens().join("models/timm_prenorm_avg");
    no(&[&dir, "--features", "cls", "-m", no_token.to_str().unwrap()], "no class token");
    let test = folder.path().join("test");
    picture(&test.join("purple/1.ppm"), [90, 0, 90], 1);
    no(&[&dir, "--test", test.to_str().unwrap()], "no class of the model has the name `purple`");
    let one = folder.path().join("one");
    picture(&one.join("red/1.ppm"), [90, 0, 90], 1);
    let one = one.to_str().unwrap();
    no(&[one], "`red` is the only class, and a classifier needs two or more");
    picture(&folder.path().join("one/blue/1.ppm"), [0, 0, 90], 1);
    no(&[one], "class `blue` has 1 photo to train on that can be read, and one of them is held out");
    assert_eq!(run(&["probe", &dir]).status.code(), Some(2), "--output is needed");
    assert_eq!(run(&["probe", &dir, "-o", head, "--features", "all"]).status.code(), Some(2));

    // A weight that is no number spoils every feature.
    let broken = folder.path().join("model");
    fs::create_dir(&broken).unwrap();
    let source = goldens().join("scores/several");
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(source.join(file), broken.join(file)).unwrap();
    }
    let mut map = read_map(&source.join("model.safetensors"));
    map.get_mut("vit.layernorm.weight").unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    write_model(&broken.join("model.safetensors"), &map);
    let output = probe(&PathBuf::new(), &[&dir, "-o", head, "-m", broken.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("is not finite") || told.contains("holds a NaN"), "{told}");
    assert!(told.contains("class `blue` has 0 photos to train on that can be read"), "{told}");
    assert_eq!(output.status.code(), Some(2));
}
