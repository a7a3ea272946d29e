//! docs/your-own-vit.md is run as it is written: each configuration beside the weights it is for, then the commands.

use std::fs;
use std::path::Path;
use std::process::Command;

use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::{Device, Session};

use crate::compare::{MODEL, assert_close};
use crate::device;
use crate::models::{golden, goldens};

/// The page's configurations, each with the golden whose weights it is for.
fn configurations(page: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for block in page.split("```json\n").skip(1) {
        let (json, after) = block.split_once("```").unwrap();
        let name = after.trim_start().strip_prefix("<!-- golden: ").unwrap_or_else(|| panic!("what is {json} for?"));
        all.push((name.split(' ').next().unwrap().to_owned(), json.to_owned()));
    }
    all
}

fn write_model(folder: &Path, name: &str, json: &str) {
    fs::copy(goldens().join("models").join(name).join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    fs::write(folder.join("config.json"), json).unwrap();
}

#[test]
fn every_configuration_of_the_page_gives_the_class_own_numbers() {
    let page = fs::read_to_string(device::root().join("docs/your-own-vit.md")).unwrap();
    let all = configurations(&page);
    assert!(all.len() >= 6, "{all:?}");
    for (name, json) in &all {
        let folder = tempfile::tempdir().unwrap();
        write_model(folder.path(), name, json);
        let checkpoint = Checkpoint::open(folder.path().to_str().unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let options = Session::builder().device(Device::Cpu);
        let source = goldens().join("models").join(name);
        let (_, pixels) = golden(&source, "pixel_values").unwrap();
        let (_, want) = golden(&source, "logits").unwrap();
        let outputs = options.build(checkpoint).unwrap().forward(&pixels, false).unwrap();
        assert_close(name, &outputs.get("logits").unwrap().values, &want, MODEL);
        // Nothing in it is idle talk: without any one of its fields it is refused, or a default says the same.
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap();
        for field in ["num_heads", "variant", "batch_first"].into_iter().filter(|field| fields.contains_key(*field)) {
            let mut fewer = fields.clone();
            fewer.remove(field);
            fs::write(folder.path().join("config.json"), serde_json::to_string(&fewer).unwrap()).unwrap();
            let error = Checkpoint::open(folder.path().to_str().unwrap()).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}` must be given")), "{name} without {field}: {error}");
        }
    }
}

#[test]
fn the_commands_of_the_page_run() {
    let page = fs::read_to_string(device::root().join("docs/your-own-vit.md")).unwrap();
    let (name, json) = configurations(&page).remove(0);
    let work = tempfile::tempdir().unwrap();
    fs::create_dir(work.path().join("model")).unwrap();
    write_model(&work.path().join("model"), &name, &json);
    fs::copy(device::root().join("assets/cat.png"), work.path().join("cat.png")).unwrap();
    let mut ran = 0;
    for block in page.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let output = Command::new(env!("CARGO_BIN_EXE_vit-gpu"))
                .args(&words[1..])
                .current_dir(work.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {said}");
            if words[1] == "classify" {
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(["ant", "bee", "cat", "dog", "eel", "fox"].iter().any(|label| text.contains(label)), "{text}");
            }
            ran += 1;
        }
    }
    assert!(ran >= 2, "{ran} commands");
}
