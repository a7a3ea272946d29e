#![no_main]
//! A whole model of one of the families, with keys of its configuration and names and shapes of its tensors changed.

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use vit_gpu::internals::checkpoint::Checkpoint;

macro_rules! models {
    ($(($folder:literal, $weights:literal, $config:literal)),* $(,)?) => {
        [$((
            include_bytes!(concat!("../../tests/goldens/models/", $folder, "/", $weights)).as_slice(),
            include_str!(concat!("../../tests/goldens/models/", $folder, "/", $config)),
        )),*]
    };
}

const MODELS: [(&[u8], &str); 22] = models![
    ("timm_plain", "model.safetensors", "config.json"),
    ("timm_distilled", "model.safetensors", "config.json"),
    ("timm_swiglu_packed", "model.safetensors", "config.json"),
    ("timm_parallel_scaling", "model.safetensors", "config.json"),
    ("timm_parallel_things", "model.safetensors", "config.json"),
    ("timm_pool_map", "model.safetensors", "config.json"),
    ("timm_patch_2d", "model.safetensors", "config.json"),
    ("hf_vit", "model.safetensors", "config.json"),
    ("hf_vit_pooler", "model.safetensors", "config.json"),
    ("hf_deit_teacher", "model.safetensors", "config.json"),
    ("hf_dinov2_swiglu", "model.safetensors", "config.json"),
    ("hf_dinov2_registers", "model.safetensors", "config.json"),
    ("hf_clip_full", "model.safetensors", "config.json"),
    ("hf_siglip_full", "model.safetensors", "config.json"),
    ("torchvision", "model.safetensors", "config.json"),
    ("meta_dinov2_linear", "model.safetensors", "config.json"),
    ("open_clip_visual", "open_clip_model.safetensors", "open_clip_config.json"),
    ("open_clip_timm", "open_clip_model.safetensors", "open_clip_config.json"),
    ("luc_1_5", "model.safetensors", "config.json"),
    ("zup_notebook", "model.safetensors", "config.json"),
    ("enc_norm_first", "model.safetensors", "config.json"),
    ("per_head", "model.safetensors", "config.json"),
];

/// Keys that configurations have, put where there are none.
const KEYS: [&str; 24] = [
    "num_heads", "img_size", "image_size", "patch_size", "depth", "embed_dim", "global_pool", "act", "eps", "model_args",
    "pretrained_cfg", "vision_config", "architecture", "model_type", "family", "num_classes", "id2label", "label_names",
    "mean", "crop_pct", "input_size", "reg_tokens", "mlp_ratio", "class_token",
];

#[derive(Arbitrary, Debug)]
enum Edit {
    /// A value of the configuration, at one of its paths.
    Set(u8, u8),
    /// A key put into one of its objects.
    Add(u8, u8, u8),
    /// A tensor left out.
    Drop(u8),
    /// A tensor under the name of another, or with a part of its name gone.
    Rename(u8, u8),
    /// An axis of a tensor's shape.
    Reshape(u8, u8, u8),
}

fn value(which: u8) -> Value {
    let all = [
        json!(0), json!(1), json!(2), json!(3), json!(-1), json!(7), json!(16), json!(0.5), json!(1e308), json!(-1e308),
        json!(2_147_483_647), json!(2_147_483_648u64), json!(u64::MAX), json!(""), json!("avg"), json!("map"),
        json!("token"), json!("gelu"), json!("NaN"), json!([]), json!([0, 0]), json!([1, 1]), json!([65_535, 1]),
        json!([3, 4, 4]), json!({}), json!({"0": "a"}), json!(true), json!(false), Value::Null, json!("rmsnorm"),
        json!("ParallelScalingBlock"), json!("SwiGLUPacked"), json!("vit_base_patch16_224"), json!("deit_tiny_distilled_patch16_224"),
    ];
    all[usize::from(which) % all.len()].clone()
}

fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => return,
    };
    for (key, value) in children {
        let path = format!("{at}/{key}");
        all.push(path.clone());
        paths(value, &path, all);
    }
}

/// Header and data of a safetensors file that is right.
fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), &bytes[8 + length..])
}

fuzz_target!(|input: (u8, Vec<Edit>)| {
    let (which, edits) = input;
    let (weights, config) = MODELS[usize::from(which) % MODELS.len()];
    let (mut header, data) = split(weights);
    let mut config: Value = serde_json::from_str(config).unwrap();
    for edit in edits.iter().take(6) {
        let mut places = Vec::new();
        paths(&config, "", &mut places);
        let tensors = header.as_object_mut().unwrap();
        let names: Vec<String> = tensors.keys().filter(|name| *name != "__metadata__").cloned().collect();
        if names.is_empty() {
            break;
        }
        let tensor = |at: u8| names[usize::from(at) % names.len()].clone();
        match *edit {
            Edit::Set(at, with) if !places.is_empty() => {
                *config.pointer_mut(&places[usize::from(at) % places.len()]).unwrap() = value(with);
            }
            Edit::Set(..) => {}
            Edit::Add(at, key, with) => {
                let objects: Vec<&String> =
                    places.iter().filter(|path| config.pointer(path).is_some_and(Value::is_object)).collect();
                let path = objects.get(usize::from(at) % (objects.len() + 1)).map_or("", |path| path.as_str()).to_owned();
                let key = KEYS[usize::from(key) % KEYS.len()];
                config.pointer_mut(&path).unwrap()[key] = value(with);
            }
            Edit::Drop(at) => drop(tensors.remove(&tensor(at))),
            Edit::Rename(at, to) => {
                let old = tensor(at);
                let new = match to % 3 {
                    0 => tensor(to),
                    1 => old.split_once('.').map_or(old.clone(), |(_, rest)| rest.to_owned()),
                    _ => format!("module.{old}"),
                };
                if let Some(info) = tensors.remove(&old) {
                    tensors.insert(new, info);
                }
            }
            Edit::Reshape(at, axis, to) => {
                let info = &mut tensors[&tensor(at)]["shape"];
                let Some(shape) = info.as_array_mut() else { continue };
                match (shape.len(), axis % 4) {
                    (_, 3) => shape.push(1.into()),
                    (0, _) => {}
                    (n, axis) => shape[usize::from(axis) % n] = to.into(),
                }
            }
        }
    }
    // Sizes are made to fit the data, so that the file is right and only the model is not.
    let mut rest: Vec<u8> = Vec::new();
    let tensors = header.as_object_mut().unwrap();
    for (_, info) in tensors.iter_mut().filter(|(name, _)| *name != "__metadata__") {
        let width: u64 = if info["dtype"] == "F32" { 4 } else { 2 };
        let sizes = info["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap_or(0));
        let Some(bytes) = sizes.fold(Some(width), |all, n| all?.checked_mul(n)).filter(|n| *n < 1 << 20) else { return };
        let first = rest.len() as u64;
        rest.extend(data.iter().cycle().take(bytes as usize));
        info["data_offsets"] = json!([first, first + bytes]);
    }
    let head = header.to_string();
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head.as_bytes());
    file.extend(rest);
    if let Ok(checkpoint) = Checkpoint::from_bytes("fuzz", file, Some(&config.to_string()), None) {
        let _ = vit_gpu::internals::model::weight_specs(&checkpoint.config).unwrap();
    }
});
