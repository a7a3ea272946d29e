//! Checkpoints that must be refused, each with a line that names what is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;
use vit_gpu::internals::checkpoint::Checkpoint;

use crate::compare::missing;
use crate::models::goldens;

pub type TensorMap = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub fn read_map(file: &Path) -> TensorMap {
    let bytes = fs::read(file).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    read.iter()
        .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect()
}

pub fn write_model(file: &Path, map: &TensorMap) {
    let views =
        map.iter().map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, file).unwrap();
}

/// A copy of a golden model whose tensors and configuration can be changed.
pub fn changed(
    model: &str,
    tensors: impl FnOnce(&mut TensorMap),
    config: impl FnOnce(&mut serde_json::Value),
) -> (TempDir, PathBuf) {
    let source = goldens().join("models").join(model);
    let mut map = read_map(&source.join("model.safetensors"));
    tensors(&mut map);
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model.safetensors"), &map);
    let mut json = serde_json::from_str(&fs::read_to_string(source.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}

#[track_caller]
pub fn refused(path: &Path, expected: &str) {
    let error = Checkpoint::open(path.to_str().unwrap()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}\n  does not say: {expected}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn ignorable_tensors_are_listed_not_refused() {
    let extra = (Dtype::F32, vec![1, 1, 36], vec![0; 144]);
    let (_keep, path) = changed("hf_vit", |map| drop(map.insert("vit.embeddings.mask_token".into(), extra)), |_| {});
    assert_eq!(Checkpoint::open(path.to_str().unwrap()).unwrap().ignored, ["vit.embeddings.mask_token"]);
}

#[test]
fn configurations_that_contradict_the_weights_are_refused() {
    let with = |model, key: &str, value: serde_json::Value| changed(model, |_| {}, |json| json[key] = value);
    let arg =
        |key: &str, value: serde_json::Value| changed("timm_plain", |_| {}, |json| json["model_args"][key] = value);
    for ((_keep, path), expected) in [
        (arg("depth", 3.into()), "`model_args.depth` is 3"),
        (arg("qk_norm", true.into()), "tensor `blocks.0.attn.q_norm.weight` is missing"),
        (arg("scale_attn_norm", true.into()), "tensor `blocks.0.attn.norm.bias` is missing"),
        (arg("act_layer", "mish".into()), "model_args.act_layer is \"mish\""),
        (arg("num_heads", 5.into()), "5"),
        (arg("global_pool", "prr".into()), "model_args.global_pool is \"prr\", which can't be run"),
        (arg("global_pool", "map".into()), "tensor `attn_pool.latent` is missing"),
        (with("hf_vit", "model_type", "swin".into()), "model_type `swin` is not supported"),
        (with("hf_vit", "hidden_act", "mish".into()), "hidden_act \"mish\" is not supported"),
        (with("hf_vit", "image_size", 64.into()), "the position table is for 24 patches, image_size 64x64 has 16x16"),
        (with("hf_vit", "num_attention_heads", "x".into()), "`num_attention_heads` is \"x\""),
        (with("hf_vit_pooler", "pooler_act", "mish".into()), "pooler_act \"mish\" is not supported"),
    ] {
        refused(&path, expected);
    }
}

#[test]
fn a_head_count_that_nobody_gives_is_asked_for() {
    let (_keep, path) = changed("torchvision", |_| {}, |json| *json = serde_json::json!({}));
    refused(&path, "the number of heads can't be seen in the weights");
    let (_keep, path) = changed("timm_plain", |_| {}, |json| *json = serde_json::json!({"architecture": "vit_other"}));
    refused(&path, "architecture `vit_other` is not known");
}

#[test]
fn folders_and_files_that_are_no_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), "the folder has no .safetensors file");
    fs::write(folder.path().join("pytorch_model.bin"), b"x").unwrap();
    refused(folder.path(), "weights are read as safetensors");
    let file = folder.path().join("model.safetensors");
    fs::write(&file, b"\x10\0\0\0\0\0\0\0{\"broken").unwrap();
    refused(
        &file,
        "not a valid safetensors file: its first bytes say that the header has 16 bytes, but the file has only 16",
    );
    refused(Path::new("does/not/exist"), "does/not/exist: no such file or folder");
    refused(Path::new("random:vit_base_patch16_224@x"), "the seed `x` is no whole number");
    refused(Path::new("random:resnet50"), "architecture `resnet50` is not known");
    let good = fs::read(goldens().join("models/timm_plain/model.safetensors")).unwrap();
    fs::write(&file, &good[..good.len() - 1]).unwrap();
    refused(&file, "not a valid safetensors file: its header describes");
    fs::write(&file, &good).unwrap();
    fs::write(folder.path().join("config.json"), "{").unwrap();
    refused(folder.path(), "config.json: EOF");
}

#[test]
fn a_broken_index_is_refused() {
    let source = goldens().join("models/hf_vit_sharded");
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let index = folder.path().join("model.safetensors.index.json");
    let good: serde_json::Value = serde_json::from_str(&fs::read_to_string(&index).unwrap()).unwrap();
    for (tensor, shard, expected) in [
        ("classifier.bias", "../outside.safetensors", "which is not a file name"),
        ("classifier.bias", "/etc/passwd", "which is not a file name"),
        ("classifier.bias", "model-00009-of-00003.safetensors", &missing("model-00009-of-00003.safetensors")),
        ("nobody", "model-00001-of-00003.safetensors", "tensor `nobody` is in the index but not in"),
    ] {
        let mut json = good.clone();
        json["weight_map"][tensor] = shard.into();
        fs::write(&index, json.to_string()).unwrap();
        refused(folder.path(), expected);
    }
}

/// What timm's factory takes from an old file's root, or from `pretrained_cfg`, is an argument; elsewhere it is for people to read.
#[test]
fn a_pooling_that_a_configuration_mentions_is_what_timm_makes_of_it() {
    let with = |config: serde_json::Value| changed("timm_plain", |_| {}, |json| *json = config);
    let sizes = serde_json::json!({"num_heads": 3, "img_size": [20, 28], "num_classes": 7});
    let flat = |more: serde_json::Value| {
        let mut json = serde_json::json!({"architecture": "vit_base_patch16_224"});
        for part in [&sizes, &more] {
            json.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        json
    };
    // The mean comes with a norm behind it, which this file lacks.
    let (_keep, path) = with(flat(serde_json::json!({"global_pool": "avg"})));
    refused(&path, "tensor `fc_norm.");
    let (_keep, path) = with(flat(serde_json::json!({"pretrained_cfg": {"global_pool": "avg"}})));
    refused(&path, "tensor `fc_norm.");
    let (_keep, path) = with(flat(serde_json::json!({"global_pool": "avg", "pretrained_cfg": {"crop_pct": 0.9}})));
    let pool = Checkpoint::open(path.to_str().unwrap()).unwrap().config.pool;
    assert_eq!(pool, vit_gpu::internals::model::Pooling::CLASS);
}

#[test]
fn other_classes_than_those_that_run_are_refused_by_name() {
    let named = |name: &str| {
        let name = name.to_owned();
        changed("timm_plain", |_| {}, move |json| json["architecture"] = name.into())
    };
    for name in [
        "vit_pe_core_base_patch16_224",
        "eva02_tiny_patch14_224",
        "vit_dwee_patch16_reg1_gap_256",
        "beit_base_patch16_224",
    ] {
        let (_keep, path) = named(name);
        refused(&path, "is not a VisionTransformer in timm, but another class");
    }
    let rotary = |json: &mut serde_json::Value| {
        json["model_cfg"]["vision_cfg"]["timm_model_name"] = "vit_pe_core_base_patch16_224".into();
    };
    let (_keep, path) = open_clip("open_clip_timm", rotary);
    refused(&path, "timm_model_name `vit_pe_core_base_patch16_224` is not known here");
    let kinds = [
        ("hf_siglip_vision", "siglip2_vision_model", "NaFlex"),
        ("hf_clip_vision", "chinese_clip_vision_model", "not supported"),
    ];
    for (model, kind, expected) in kinds {
        let (_keep, path) = changed(model, |_| {}, |json| json["model_type"] = kind.into());
        refused(&path, expected);
    }
    let (_keep, path) = changed("hf_dinov2", |_| {}, |json| json["model_type"] = "rf_detr_dinov2".into());
    refused(&path, "model_type `rf_detr_dinov2` is not supported");
}

/// A copy of an open_clip golden whose configuration can be changed.
fn open_clip(model: &str, config: impl FnOnce(&mut serde_json::Value)) -> (TempDir, PathBuf) {
    let source = goldens().join("models").join(model);
    let folder = tempfile::tempdir().unwrap();
    let weights = "open_clip_model.safetensors";
    fs::copy(source.join(weights), folder.path().join(weights)).unwrap();
    let file = "open_clip_config.json";
    let mut json = serde_json::from_str(&fs::read_to_string(source.join(file)).unwrap()).unwrap();
    config(&mut json);
    fs::write(folder.path().join(file), json.to_string()).unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}

#[test]
fn an_open_clip_configuration_is_whole_or_refused() {
    for (change, expected) in [
        ("", "open_clip_config.json is missing"),
        ("/model_cfg", "model_cfg is \"text\", not an object"),
        ("/model_cfg/vision_cfg", "`model_cfg.vision_cfg` is missing"),
    ] {
        let (_keep, path) = open_clip("open_clip_visual", |json| {
            if let Some(value) = json.pointer_mut(change).filter(|_| !change.is_empty()) {
                *value = "text".into();
            }
        });
        if change.is_empty() {
            fs::remove_file(path.join("open_clip_config.json")).unwrap();
        }
        refused(&path, expected);
    }
    for (key, value, expected) in [
        ("norm_kwargs", serde_json::json!({"eps": "small"}), "`eps` is \"small\""),
        ("norm_kwargs", serde_json::json!({"bias": false}), "norm_kwargs.bias"),
        ("act_kwargs", serde_json::json!({"approximate": "none", "inplace": true}), "`act_kwargs` is"),
        ("scaled_cosine_attn", true.into(), "scaled_cosine_attn"),
        ("attentional_pool", true.into(), "attentional_pool"),
        ("pool_type", "none".into(), "pool_type `none` can't be run"),
        ("rope", true.into(), "this key is not known"),
        ("layers", 9.into(), "`layers` is 9"),
    ] {
        let (_keep, path) = open_clip("open_clip_visual", |json| json["model_cfg"]["vision_cfg"][key] = value);
        refused(&path, expected);
    }
}

#[test]
fn keys_that_nobody_reads_are_refused_unless_they_are_about_the_model() {
    for (model, key, at) in [
        ("hf_vit", "rope_theta", ""),
        ("hf_clip_full", "window_size", "/vision_config"),
        ("torchvision", "epsilon", ""),
    ] {
        let (_keep, path) = changed(model, |_| {}, |json| json.pointer_mut(at).unwrap()[key] = 1e4.into());
        refused(&path, &format!("{key}` is 10000.0, but this key is not known"));
        let about = |json: &mut serde_json::Value| {
            json["_commit_hash"] = "0123".into();
            json["license"] = "mit".into();
            json[key] = serde_json::Value::Null;
        };
        let (_keep, path) = changed(model, |_| {}, about);
        Checkpoint::open(path.to_str().unwrap()).unwrap();
    }
}

#[test]
fn what_all_names_begin_with_is_left_off() {
    let wrappers = [
        "module.",
        "_orig_mod.",
        "backbone.",
        "net.",
        "encoder.",
        "ema.",
        "teacher.backbone.",
        "base_model.model.",
        "timm_model.",
    ];
    for model in
        ["timm_plain", "hf_vit", "hf_clip_vision", "hf_dinov2", "torchvision", "meta_dinov2", "luc_1_5", "zup_fused"]
    {
        let folder = goldens().join("models").join(model);
        let whole = Checkpoint::open(folder.to_str().unwrap()).unwrap();
        for wrapper in wrappers {
            let wrap = |map: &mut TensorMap| {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(name, tensor)| (format!("{wrapper}{name}"), tensor))
                    .collect();
            };
            let (_keep, path) = changed(model, wrap, |_| {});
            let got =
                Checkpoint::open(path.to_str().unwrap()).unwrap_or_else(|error| panic!("{model} {wrapper}: {error}"));
            assert_eq!((&got.config, got.family), (&whole.config, whole.family), "{model} {wrapper}");
            // Of two wrappers neither is shared.
            let two = |map: &mut TensorMap| {
                wrap(map);
                let name = map.keys().next().unwrap().clone();
                let tensor = map.remove(&name).unwrap();
                map.insert(name.replacen(wrapper, "other.", 1), tensor);
            };
            let (_keep, path) = changed(model, two, |_| {});
            assert!(Checkpoint::open(path.to_str().unwrap()).is_err(), "{model} {wrapper} and another");
        }
    }
}

/// Without a position table nothing in the file shows the size: timm takes the architecture's, not what it was trained at.
#[test]
fn a_size_that_no_tensor_shows_is_the_architectures() {
    let folder = goldens().join("radio_without_positions");
    assert_eq!(Checkpoint::open(folder.to_str().unwrap()).unwrap().config.img_size, (512, 512));
}
