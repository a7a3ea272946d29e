//! LoRA adapters: what is merged is compared in `models.rs` as any other golden is; here is what must be refused, and what the
//! program says of a merged model.

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::{Device, Model, Session};

use crate::checkpoints::{TensorMap, read_map, write_model};
use crate::models::{golden, goldens};

const ADAPTERS: [&str; 11] = [
    "peft_vit",
    "peft_vit_biases",
    "peft_dinov2_dora",
    "peft_clip",
    "peft_timm",
    "peft_timm_head",
    "peft_open_clip",
    "peft5_vit",
    "peft5_vit_biases",
    "peft5_dinov2_dora",
    "peft5_clip",
];

/// A copy of a golden adapter that a test may change.
struct Copied(tempfile::TempDir);

impl Copied {
    fn new(name: &str) -> Copied {
        let (source, folder) = (goldens().join("models").join(name), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("base")).unwrap();
        for inner in ["", "base"] {
            for entry in fs::read_dir(source.join(inner)).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
                fs::copy(entry.path(), folder.path().join(inner).join(entry.file_name())).unwrap();
            }
        }
        Copied(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path().join("adapter_config.json")).unwrap()).unwrap()
    }

    fn set(&self, changes: &Value) {
        let mut config = self.config();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        fs::write(self.path().join("adapter_config.json"), config.to_string()).unwrap();
    }

    fn tensors(&self, change: impl FnOnce(&mut TensorMap)) {
        let file = self.path().join("adapter_model.safetensors");
        let mut map = read_map(&file);
        change(&mut map);
        write_model(&file, &map);
    }

    fn open(&self) -> Result<Checkpoint, String> {
        Checkpoint::open(self.path().to_str().unwrap()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(&self, want: &str) {
        let error = self.open().map(|_| ()).unwrap_err();
        assert!(error.contains(want) && !error.contains('\n'), "{error}");
    }
}

fn logits(checkpoint: Checkpoint, pixels: &[f32]) -> Vec<f32> {
    let session = Session::builder().device(Device::Cpu).build(checkpoint).unwrap();
    session.forward(pixels, false).unwrap().get("logits").unwrap().values.clone()
}

#[test]
fn merged_logits_are_pefts_to_a_hundred_thousandth() {
    let mut compared = 0;
    for name in ADAPTERS {
        let folder = goldens().join("models").join(name);
        let Some((_, want)) = golden(&folder, "logits") else { continue };
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let got = logits(Checkpoint::open(folder.to_str().unwrap()).unwrap(), &pixels);
        let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0f32, f32::max);
        assert!(far < 1e-5, "{name}: {far:e}");
        let base = folder.join("base");
        // A base without a head, or with another, has no logits to compare with.
        if let Ok(base) = Checkpoint::open(base.to_str().unwrap())
            && base.config.num_classes * 2 == want.len()
        {
            let before = logits(base, &pixels);
            assert!(
                before.iter().zip(&want).any(|(a, b)| (a - b).abs() > 0.1),
                "{name}: the adapter changes too little"
            );
        }
        compared += 1;
    }
    assert_eq!(compared, 8);
}

#[test]
fn every_tensor_of_an_adapter_is_used_or_an_error() {
    for name in ADAPTERS {
        let whole = Copied::new(name);
        whole.open().unwrap_or_else(|error| panic!("{name}: {error}"));
        let map = read_map(&whole.path().join("adapter_model.safetensors"));
        for tensor in map.keys() {
            // PEFT stores these besides the tensors themselves. A stored bias or head that is not there is the base's.
            let spare = tensor.contains("original_module") || tensor.contains("modules_to_save");
            let low_rank = tensor.contains(".lora_");
            let changed = Copied::new(name);
            changed.tensors(|map| drop(map.remove(tensor)));
            match changed.open() {
                Ok(_) => assert!(!low_rank || spare, "{name}: {tensor} is missing, and it opens"),
                Err(error) => assert!(!error.contains('\n'), "{name}: {tensor}: {error}"),
            }
            let changed = Copied::new(name);
            changed.tensors(|map| {
                let value = map.remove(tensor).unwrap();
                map.insert(tensor.replacen("base_model.model.", "base_model.model.other.", 1), value);
            });
            assert!(changed.open().is_err() || spare, "{name}: {tensor} has another name, and it opens");
            let changed = Copied::new(name);
            changed.tensors(|map| map.get_mut(tensor).unwrap().1.insert(0, 1));
            assert!(
                changed.open().is_err() || spare || tensor.contains("magnitude"),
                "{name}: {tensor} has an axis too many"
            );
        }
        whole.tensors(|map| {
            drop(map.insert("base_model.model.surprise.weight".into(), (Dtype::F32, vec![1], vec![0; 4])))
        });
        whole.refused("base_model.model.surprise.weight");
    }
}

#[test]
fn what_cannot_be_merged_is_one_line_that_names_it() {
    for (golden, changes, want) in [
        (
            "peft_vit",
            json!({"peft_type": "LOHA"}),
            "the adapter is of type LOHA (`peft_type`): only those of type LORA",
        ),
        (
            "peft_vit",
            json!({"init_lora_weights": "pissa"}),
            "`init_lora_weights` is \"pissa\": adapters with this option",
        ),
        ("peft_vit", json!({"layer_replication": [[0, 2]]}), "`layer_replication`"),
        ("peft_vit", json!({"new_option": 3}), "`new_option` is 3"),
        ("peft_vit", json!({"use_dora": true}), "has no `lora_magnitude_vector`"),
        ("peft_vit", json!({"lora_bias": true}), "`lora_bias` is true, but tensor"),
        ("peft_dinov2_dora", json!({"use_dora": false}), "has a `lora_magnitude_vector`"),
        ("peft_timm", json!({"lora_bias": false}), "`lora_bias` is false, but tensor"),
        ("peft_vit", json!({"r": 4}), "has rank 3, `r` or `rank_pattern` says 4"),
        ("peft_vit_biases", json!({"rank_pattern": {}}), "has rank 5"),
        ("peft_vit", json!({"target_modules": ["query"]}), "of a layer that `target_modules` does not name"),
        ("peft_vit", json!({"exclude_modules": ["query"]}), "of a layer that `target_modules` does not name"),
        ("peft_vit", json!({"layers_to_transform": [0]}), "of a layer that `target_modules` does not name"),
        ("peft_clip", json!({"layers_to_transform": null}), "is among the `target_modules`, but tensor"),
        ("peft_vit_biases", json!({"exclude_modules": null}), "is among the `target_modules`, but tensor"),
        ("peft_vit", json!({"modules_to_save": null}), "is in none of the `modules_to_save`"),
        ("peft_vit_biases", json!({"bias": "none"}), "is in none of the `modules_to_save`"),
        (
            "peft_vit",
            json!({"target_modules": "(?!x).*"}),
            "`target_modules` has the pattern `(?!x).*`, which can't be read",
        ),
        ("peft_vit", json!({"base_model_name_or_path": null}), "`base_model_name_or_path` is missing"),
        (
            "peft_vit",
            json!({"base_model_name_or_path": "a/b", "revision": "v1"}),
            "its base model `a/b@v1` is not here",
        ),
        ("peft_vit", json!({"base_model_name_or_path": "."}), "is an adapter too: only one can be merged"),
        ("peft_open_clip", json!({"use_dora": true}), "`use_dora` is true"),
    ] {
        let adapter = Copied::new(golden);
        adapter.set(&changes);
        adapter.refused(want);
    }
    let pickled = Copied::new("peft_vit");
    let (safe, bin) = ("adapter_model.safetensors", "adapter_model.bin");
    fs::rename(pickled.path().join(safe), pickled.path().join(bin)).unwrap();
    pickled
        .refused("no adapter_model.safetensors, only adapter_model.bin, which is never read: save the adapter again");
    // Whatever else lies there.
    fs::copy(goldens().join("models/hf_vit/model.safetensors"), pickled.path().join("model.safetensors")).unwrap();
    pickled.refused("no adapter_model.safetensors");
    let other = Copied::new("peft_vit");
    fs::copy(goldens().join("models/hf_dinov2/model.safetensors"), other.path().join("base/model.safetensors"))
        .unwrap();
    other.refused("which the base model does not have");
}

#[test]
fn an_adapter_is_found_by_its_folder_and_its_file() {
    let folder = goldens().join("models/peft_vit");
    let by_folder = Checkpoint::open(folder.to_str().unwrap()).unwrap();
    let by_file = Checkpoint::open(folder.join("adapter_model.safetensors").to_str().unwrap()).unwrap();
    let base = Checkpoint::open(folder.join("base").to_str().unwrap()).unwrap();
    assert_eq!(by_folder.fingerprint().unwrap(), by_file.fingerprint().unwrap());
    assert_ne!(by_folder.fingerprint().unwrap(), base.fingerprint().unwrap());
    // The weights of either file are part of what the model is.
    for file in ["adapter_model.safetensors", "base/model.safetensors"] {
        let changed = Copied::new("peft_vit");
        let path = changed.path().join(file);
        let mut map = read_map(&path);
        let bytes = &mut map.values_mut().find(|(_, shape, _)| shape.len() == 2).unwrap().2;
        bytes[3] ^= 0x80;
        write_model(&path, &map);
        assert_ne!(changed.open().unwrap().fingerprint().unwrap(), by_folder.fingerprint().unwrap(), "{file}");
    }
    let merged = by_folder.merged.unwrap();
    assert_eq!((merged.ranks, merged.layers, merged.dora), ((3, 3), 10, false));
    assert_eq!(merged.replaced, ["classifier.bias", "classifier.weight"]);
}

#[test]
fn classes_of_a_new_head_are_named_beside_the_adapter() {
    let adapter = Copied::new("peft_timm_head");
    let model = Model::open(adapter.path()).unwrap();
    assert_eq!((model.num_classes(), model.label(0)), (3, None), "the base's names are of other classes");
    let names = json!({"id2label": {"0": "x", "1": "y", "2": "z"}, "hidden_size": 1});
    fs::write(adapter.path().join("config.json"), names.to_string()).unwrap();
    assert_eq!(Model::open(adapter.path()).unwrap().label(2), Some("z"));
    // A head that is the base's own keeps its names.
    let model = Model::open(goldens().join("models/peft_timm")).unwrap();
    assert_eq!((model.num_classes(), model.label(4)), (5, Some("e")));
}

#[test]
fn preprocessing_beside_the_adapter_comes_first() {
    let adapter = Copied::new("peft_vit");
    let settings = |mean: f32| json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 24}, "image_mean": [mean, mean, mean]});
    let mean = || {
        let whole = adapter.open().unwrap().transform.mean[0];
        assert_eq!(Checkpoint::transform_only(adapter.path().to_str().unwrap(), None).unwrap().mean[0], whole);
        whole
    };
    fs::write(adapter.path().join("base/preprocessor_config.json"), settings(0.25).to_string()).unwrap();
    assert_eq!(mean(), 0.25);
    fs::write(adapter.path().join("preprocessor_config.json"), settings(0.75).to_string()).unwrap();
    assert_eq!(mean(), 0.75);
}

#[test]
fn impossible_values_in_an_adapters_configuration_are_one_line_or_change_nothing() {
    let values = [
        json!(0),
        json!(-1),
        json!(2.5),
        json!(1e300),
        json!(u64::MAX),
        json!("text"),
        json!("("),
        json!([]),
        json!([1, 2]),
        json!({}),
        json!({"a": "b"}),
        json!(true),
        Value::Null,
    ];
    let (mut tried, mut refused) = (0, 0);
    for name in ["peft_vit", "peft_vit_biases", "peft_dinov2_dora", "peft_timm", "peft_clip"] {
        let adapter = Copied::new(name);
        let config = adapter.config();
        let want = adapter.open().unwrap().merged.unwrap();
        for key in config.as_object().unwrap().keys() {
            for value in &values {
                adapter.set(&config);
                adapter.set(&json!({key: value}));
                tried += 1;
                match adapter.open() {
                    Ok(opened) => assert_eq!(opened.merged.unwrap(), want, "{name}: {key} = {value}"),
                    Err(error) => {
                        refused += 1;
                        assert!(!error.is_empty() && !error.contains('\n'), "{name}: {key} = {value}: {error}");
                    }
                }
            }
        }
    }
    assert!(tried > 2000 && refused * 4 > tried, "{refused} of {tried} are refused");
}
