//! `vit-gpu eval` as a user runs it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli::{fails, run, stdout};
use crate::compare::missing;
use crate::device;
use crate::models::goldens;

/// A picture of one colour with a pattern of its own, as a PPM file.
pub fn picture(path: &Path, colour: [u8; 3], number: usize) {
    let mut bytes = b"P6 32 32 255\n".to_vec();
    for i in 0..32 * 32usize {
        let noise = ((i * (number * 2 + 3) * 7919) >> 3) % 40;
        bytes.extend(colour.map(|value| value.saturating_add(noise as u8)));
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two cats, of which one is called a dog, one file that is no image, and one that belongs to no class.
fn photos(folder: &Path) {
    for (name, to) in [("cat", "a.png"), ("DOG", "b.png")] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::copy(device::root().join("assets/cat.png"), folder.join(name).join(to)).unwrap();
    }
    fs::write(folder.join("cat/broken.png"), "text").unwrap();
    fs::write(folder.join("notes.txt"), "text").unwrap();
    fs::create_dir_all(folder.join("frog")).unwrap();
}

fn report(args: &[&str], code: i32) -> Value {
    let output = run(&[&["eval", "-f", "json"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn a_folder_for_each_class_is_measured_on_every_device() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let dir = folder.path().to_str().unwrap();
    for device in ["cpu", &device::name()] {
        let got = report(&[dir, "-d", device], 1);
        assert_eq!(
            (got["images"].as_u64(), got["top1"].as_f64(), got["top5"].as_f64()),
            (Some(2), Some(0.5), Some(1.0))
        );
        let failed = got["failed"].as_array().unwrap();
        assert!(failed.len() == 1 && failed[0]["image"].as_str().unwrap().ends_with("broken.png"), "{failed:?}");
        // classify says 61.8 % cat and 16.7 % dog.
        let loss = -(0.618_380_55f64.ln() + 0.167_024_78f64.ln()) / 2.0;
        assert!((got["cross_entropy"].as_f64().unwrap() - loss).abs() < 1e-3, "{got}");
        assert!((got["expected_calibration_error"].as_f64().unwrap() - 0.118_380_55).abs() < 1e-3);
        let confusion = serde_json::json!([
            {"class": 3, "predicted": 3, "images": 1}, {"class": 5, "predicted": 3, "images": 1}
        ]);
        assert_eq!(got["confusion"], confusion);
        assert_eq!(got["per_class"].as_array().unwrap().len(), 2);
        assert_eq!((&got["per_class"][1]["label"], &got["per_class"][1]["f1"]), (&"dog".into(), &0.0.into()));
        assert_eq!(got["device"] == "cpu", device == "cpu");
        assert!(got["images_per_s"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn the_text_has_a_row_for_each_class_and_the_page_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let page = folder.path().join("report.html");
    let args = ["eval", folder.path().to_str().unwrap(), "-d", "cpu", "--report", page.to_str().unwrap()];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    for line in [
        "top-1 accuracy     50.00 %",
        "top-5 accuracy     100.00 %",
        "cat                   0.5000    1.0000    0.6667        1",
        "dog                   0.0000    0.0000    0.0000        1",
        "macro mean            0.2500    0.5000    0.3333",
        "     1  dog taken for cat (100.0 % of dog)",
    ] {
        assert!(text.lines().any(|got| got == line), "{line}\n{text}");
    }
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("frog: no images in this folder") && told.contains("1 file is in no class's folder"),
        "{told}"
    );
    let page = fs::read_to_string(page).unwrap();
    assert_eq!((page.matches("<svg").count(), page.matches("data:image/png;base64,").count()), (2, 1));
    assert!(page.contains("dog</b> taken for cat") && page.contains("broken.png"));
    for outside in ["src=\"http", "href=", "<script", "<link", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("#000000"), "black can't be read on a dark page");
}

#[test]
fn a_table_of_paths_and_labels_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let table = file("table.csv", "id,Label, path\n1,Cat,cat/a.png\n2,pooch,DOG/b.png\n");
    fails(&["eval", "--from-csv", &table, "-d", "cpu"], 2, "no class of the model has the name `pooch`: --map");
    let map = file("map.csv", "pooch,5\nCat,cat\n");
    let got = report(&["--from-csv", &table, "--map", &map, "-d", "cpu"], 0);
    assert_eq!((got["images"].as_u64(), got["top1"].as_f64()), (Some(2), Some(0.5)));
    assert_eq!(got["confusion"][1], serde_json::json!({"class": 5, "predicted": 3, "images": 1}));
    for (text, reason) in [
        ("file,label\na,b\n", "no column is named `path` (the first row is: file, label)"),
        ("path,name\na,b\n", "no column is named `label`"),
        ("path,label\n", "no rows below the first"),
        ("path,label\n,cat\n", "row 2 has no path"),
        ("path,label\na,b,c\n", "found record with 3 fields"),
    ] {
        fails(&["eval", "--from-csv", &file("bad.csv", text), "-d", "cpu"], 2, reason);
    }
    fails(
        &["eval", "--from-csv", &table, "--map", &file("bad.csv", "pooch,poodle\n"), "-d", "cpu"],
        2,
        "no class `poodle`",
    );
    fails(&["eval", "--from-csv", "no/such.csv"], 2, &format!("no/such.csv: {}", missing("no/such.csv")));
}

#[test]
fn mistakes_are_one_line_with_the_right_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    fails(&["eval", dir], 2, "no folders in this folder");
    fs::create_dir(folder.path().join("cat")).unwrap();
    let output = run(&["eval", dir, "-q"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no images in the folders of this folder"));
    fails(&["eval", "no/such/folder"], 2, &format!("no/such/folder: {}", missing("no/such/folder")));
    let model = |name: &str| goldens().join(name).to_str().unwrap().to_owned();
    picture(&folder.path().join("cat/a.ppm"), [200, 10, 10], 1);
    picture(&folder.path().join("zebra/a.ppm"), [200, 10, 10], 1);
    fails(&["eval", dir, "-d", "cpu"], 2, "no class of the model has the name `zebra`");
    fails(&["eval", dir, "-d", "cpu", "-m", &model("models/hf_vit_pooler")], 2, "no classification head");
    fails(&["eval", dir, "-d", "cpu", "-m", &model("scores/regression")], 2, "a regression");
    assert_eq!(run(&["eval"]).status.code(), Some(2));
    assert_eq!(run(&["eval", dir, "--from-csv", "x.csv"]).status.code(), Some(2));
    fs::remove_dir_all(folder.path().join("zebra")).unwrap();
    fs::write(folder.path().join("cat/a.ppm"), "text").unwrap();
    let output = run(&["eval", dir, "-d", "cpu"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no image has a result"));
}

#[test]
fn a_model_of_several_labels_has_figures_of_each() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(goldens().join("scores/image.png"), folder.path().join("a.png")).unwrap();
    picture(&folder.path().join("b.ppm"), [10, 200, 30], 2);
    let table = folder.path().join("t.csv");
    fs::write(&table, "path,label\na.png,LABEL_1; label_3\nb.ppm,\n").unwrap();
    let model = goldens().join("scores/several");
    let page = folder.path().join("report.html");
    let args = ["--from-csv", table.to_str().unwrap(), "-d", "cpu", "-m", model.to_str().unwrap()];
    let got = report(&[&args[..], &["--report", page.to_str().unwrap()]].concat(), 0);
    let labels = got["per_label"].as_array().unwrap();
    let support: Vec<u64> = labels.iter().map(|label| label["images"].as_u64().unwrap()).collect();
    assert_eq!(support, [0, 1, 0, 1, 0]);
    assert!(labels[0]["average_precision"] == 0.0 && labels[1]["average_precision"].as_f64().unwrap() > 0.0);
    assert!(got["mean_average_precision"].is_f64() && got["exact_match"].is_f64());
    assert!(fs::read_to_string(page).unwrap().contains("average precision"));
    let text = stdout(&run(&[&["eval"], &args[..]].concat()));
    assert!(text.contains("average precision  0.") && text.contains("LABEL_3"), "{text}");
}

#[test]
fn a_thousand_classes_are_shown_as_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> =
        (0..60).map(|i| vit_gpu::internals::labels::Labels::none(1000).get(i).unwrap().to_owned()).collect();
    let mut table = csv::Writer::from_path(folder.path().join("t.csv")).unwrap();
    table.write_record(["path", "label"]).unwrap();
    for (i, name) in names.iter().enumerate() {
        let file = format!("{i}.ppm");
        picture(&folder.path().join(&file), [i as u8 * 3, 200 - i as u8, (i * 37 % 200) as u8], i);
        table.write_record([file.as_str(), name.split(", ").next().unwrap()]).unwrap();
    }
    drop(table);
    let page = folder.path().join("report.html");
    let table = folder.path().join("t.csv");
    let args = ["eval", "--from-csv", table.to_str().unwrap(), "-d", "cpu", "-m", "random:vit_tiny_patch16_224@1"];
    let output = run(&[&args[..], &["--image-size", "32", "--report", page.to_str().unwrap()]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(stdout(&output).contains("those with the lowest F1; -f json has all"), "{}", stdout(&output));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("too many for a matrix") && page.matches("<svg").count() == 1);
    fs::write(&table, "path,label\n0.ppm,crane\n").unwrap();
    fails(&args, 2, "several classes have the name `crane (classes 134, 517)`");
}

#[test]
fn labels_in_words_are_classes_too() {
    let folder = tempfile::tempdir().unwrap();
    let picture_of = |class: &str, to: &str| {
        fs::create_dir_all(folder.path().join(class)).unwrap();
        fs::copy(goldens().join("words/image0.png"), folder.path().join(class).join(to)).unwrap();
    };
    picture_of("cat", "a.png");
    picture_of("Dog", "b.png");
    let model = crate::words::folder("hf_clip");
    let dir = folder.path().to_str().unwrap();
    let args = [dir, "-d", "cpu", "-m", model.to_str().unwrap(), "--labels", "cat,dog,two parrots"];
    let got = report(&args, 0);
    let output = run(&[&["classify", "-f", "jsonl", "-k", "3"][..], &args].concat());
    let classes: Value = serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
    let score = |label: &str| {
        let all = classes["predictions"].as_array().unwrap();
        all.iter().find(|class| class["label"] == label).unwrap()["score"].as_f64().unwrap()
    };
    let loss = -(score("cat").ln() + score("dog").ln()) / 2.0;
    assert!((got["cross_entropy"].as_f64().unwrap() - loss).abs() < 1e-4, "{got}, {classes}");
    fails(&[&["eval", "--head", "x.safetensors"][..], &args].concat(), 2, "give one of them");
    fails(&[&["eval"][..], &args[..5], &["--labels", "cat,parrot"]].concat(), 2, "has the name `Dog`");
}
