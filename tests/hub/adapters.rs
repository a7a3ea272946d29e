//! Adapters by name: their base model comes with them, from the cache or from the hub.

use std::fs;
use std::path::Path;

use vit_gpu::HubFault;

use crate::command_line::{run, said, stdout};
use crate::server::{Hub, Repo};
use crate::{Place, names};

fn golden(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/models/peft_vit").join(file)).unwrap()
}

/// The configuration of an adapter whose base has a name.
fn config(base: &str, revision: Option<&str>) -> Vec<u8> {
    let mut config: serde_json::Value = serde_json::from_slice(&golden("adapter_config.json")).unwrap();
    config["base_model_name_or_path"] = base.into();
    config["revision"] = revision.into();
    config.to_string().into_bytes()
}

/// A hub with an adapter and its base, which has two revisions; only `v1` is the base's.
fn place() -> Place {
    let (weights, base) = (golden("adapter_model.safetensors"), golden("base/model.safetensors"));
    let (config, own) = (config("a/base", Some("v1")), golden("base/config.json"));
    let files: [(&str, &[u8]); 5] = [
        ("adapter_config.json", &config),
        ("adapter_model.safetensors", &weights),
        ("training_args.bin", b"pickle"),
        ("README.md", b"about"),
        ("model.safetensors", b"something else"),
    ];
    let place = Place::new(Hub::with("a/lora", Repo::new('1', &files)));
    let whole: [(&str, &[u8]); 2] = [("config.json", &own), ("model.safetensors", &base)];
    let base = Repo::new('3', &[("config.json", b"{}"), ("model.safetensors", b"?")]).commit("v1", '2', &whole);
    place.hub.put("a/base", base);
    place
}

#[test]
fn an_adapter_brings_its_base_and_then_needs_nobody() {
    let place = place();
    let pulled = run(&place, &["pull", "a/lora"], &[]);
    assert!(pulled.status.success(), "{}", said(&pulled));
    let folder = stdout(&pulled);
    assert_eq!(names(Path::new(folder.trim_end())), ["adapter_config.json", "adapter_model.safetensors"]);
    let base = format!("snapshots/{}", "2".repeat(40));
    assert!(said(&pulled).contains("a/lora: it is an adapter, its base model is in ") && said(&pulled).contains(&base));
    place.hub.requests();
    // One request for each of the two.
    let online = run(&place, &["info", "a/lora"], &[]);
    assert!(online.status.success(), "{}", said(&online));
    assert_eq!(place.hub.requests().len(), 2);
    let offline = run(&place, &["info", "a/lora"], &[("HF_HUB_OFFLINE", "1")]);
    assert!(offline.status.success(), "{}", said(&offline));
    let text = stdout(&offline);
    assert!(text.starts_with("a/lora (huggingface-vit layout, F32)\n  adapter merged into "), "{text}");
    assert!(text.contains("LoRA of rank 3 in 10 layers, classifier.bias, classifier.weight replaced\n"), "{text}");
    // The same by the folder, which is in no place that has the base beside it.
    let by_folder = run(&place, &["info", folder.trim_end()], &[("HF_HUB_OFFLINE", "1")]);
    assert!(by_folder.status.success(), "{}", said(&by_folder));
    let listed = stdout(&run(&place, &["models", "-f", "json"], &[("HF_HUB_OFFLINE", "1")]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let other: Vec<_> = listed["other"].as_array().unwrap().iter().map(|model| model["repo"].clone()).collect();
    assert!(other.contains(&"a/lora".into()), "{other:?}");
    assert!(place.hub.requests().is_empty());
}

#[test]
fn a_base_that_is_missing_is_one_line() {
    let place = place();
    place.pull("a/lora").unwrap();
    let offline = run(&place, &["info", "a/lora"], &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline.status.code(), Some(2));
    let line = said(&offline);
    assert!(line.starts_with("error: a/base@v1: it is not in the cache (") && line.lines().count() == 1, "{line}");
    assert!(
        line.contains("HF_HUB_OFFLINE is set") && line.contains("(it is the base model of the adapter a/lora)"),
        "{line}"
    );
    place.hub.put(
        "b/lora",
        Repo::new(
            '1',
            &[
                ("adapter_config.json", &config("a/none", None)),
                ("adapter_model.safetensors", &golden("adapter_model.safetensors")),
            ],
        ),
    );
    let line = said(&run(&place, &["pull", "b/lora"], &[]));
    assert!(line.starts_with("error: a/none: ") && line.contains("base model of the adapter b/lora"), "{line}");
    // A path of another machine is no name.
    place.hub.put(
        "c/lora",
        Repo::new(
            '1',
            &[
                ("adapter_config.json", &config("/home/x/vit", None)),
                ("adapter_model.safetensors", &golden("adapter_model.safetensors")),
            ],
        ),
    );
    let line = said(&run(&place, &["info", "c/lora"], &[]));
    assert!(line.contains("its base model `/home/x/vit` is not here") && line.lines().count() == 1, "{line}");
}

#[test]
fn a_local_adapter_takes_its_base_from_the_hub() {
    let place = place();
    let folder = place.path().join("adapter");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("adapter_config.json"), config("a/base", Some("v1"))).unwrap();
    fs::write(folder.join("adapter_model.safetensors"), golden("adapter_model.safetensors")).unwrap();
    let path = folder.to_str().unwrap();
    let line = said(&run(&place, &["info", path], &[("HF_HUB_OFFLINE", "1")]));
    assert!(line.starts_with("error: a/base@v1: ") && line.contains("base model of the adapter"), "{line}");
    let online = run(&place, &["info", path], &[]);
    assert!(online.status.success() && stdout(&online).contains("LoRA of rank 3"), "{}", said(&online));
    assert!(run(&place, &["info", path], &[("HF_HUB_OFFLINE", "1")]).status.success());
}

#[test]
fn a_pickled_adapter_is_refused() {
    let place = place();
    let files: [(&str, &[u8]); 2] =
        [("adapter_config.json", &config("a/base", None)), ("adapter_model.bin", b"pickle")];
    place.hub.put("d/lora", Repo::new('1', &files));
    let (fault, line) = place.fails("d/lora");
    assert_eq!(fault, HubFault::Pickled { file: "adapter_model.bin".into() }, "{line}");
    let told = said(&run(&place, &["info", "d/lora"], &[]));
    assert!(told.contains("\"adapter_model.safetensors\")") && told.contains("adapter_config.json"), "{told}");
}
