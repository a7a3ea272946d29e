//! Every loader is given configurations and tensors that cannot be: each is one line, never a panic, never numbers.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use vit_gpu::internals::checkpoint::{Checkpoint, Storage};

use crate::checkpoints::{TensorMap, read_map, write_model};
use crate::models::goldens;

/// One golden of every family, and of every layout of its configuration.
const MODELS: [&str; 24] = [
    "timm_plain",
    "timm_distilled",
    "timm_swiglu_packed",
    "timm_parallel_scaling",
    "timm_pool_map",
    "timm_patch_2d",
    "hf_vit",
    "hf_vit_pooler",
    "hf_deit_teacher",
    "hf_dinov2_swiglu",
    "hf_dinov2_registers",
    "hf_clip_full",
    "hf_siglip_full",
    "hf5_vit_mae",
    "torchvision",
    "meta_dinov2_linear",
    "meta_mae",
    "open_clip_timm",
    "open_clip_visual",
    "openai_clip",
    "luc_1_5",
    "zup_fused",
    "enc_norm_first",
    "per_head",
];

fn files(model: &Path) -> (String, String) {
    let open_clip = model.join("open_clip_model.safetensors").exists();
    let weights = if open_clip { "open_clip_model.safetensors" } else { "model.safetensors" };
    let config = if open_clip { "open_clip_config.json" } else { "config.json" };
    (weights.to_owned(), config.to_owned())
}

/// The `config.json` that a model has beside its library's configuration, if it has one; else none is left there.
fn beside(source: &Path, config: &str, to: &Path) {
    let (there, here) = (source.join("config.json"), to.join("config.json"));
    if config != "config.json" && there.exists() {
        fs::copy(there, here).unwrap();
    } else if config != "config.json" && here.exists() {
        fs::remove_file(here).unwrap();
    }
}

/// Values that no size, switch or name can have.
fn impossible() -> Vec<Value> {
    vec![
        json!(0),
        json!(-1),
        json!(2.5),
        json!(1e300),
        json!(4_294_967_297u64),
        json!(u64::MAX),
        json!("text"),
        json!(""),
        json!([]),
        json!([0, 0]),
        json!([1, 2, 3, 4]),
        json!({}),
        json!(true),
        Value::Null,
    ]
}

/// The paths of every value of a configuration, in objects of any depth.
fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            all.push(path.clone());
            paths(value, &path, all);
        }
    }
    if let Value::Array(list) = value {
        for (i, value) in list.iter().enumerate() {
            all.push(format!("{at}/{i}"));
            paths(value, &format!("{at}/{i}"), all);
        }
    }
}

/// Opens a folder; an error must be one line that is not empty.
fn open(folder: &Path, what: &str) -> Result<Checkpoint, String> {
    let opened = Checkpoint::open(folder.to_str().unwrap());
    opened.map_err(|error| {
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains('\n') && !error.is_input(), "{what}: {text:?}");
        text
    })
}

#[test]
fn impossible_values_of_every_key_are_one_line_or_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut refused, mut tried) = (0, 0);
    // What `convert` writes is a family of its own.
    let converted = tempfile::tempdir().unwrap();
    let canonical = converted.path().join("timm_pool_map");
    let golden = goldens().join("models/timm_pool_map");
    Checkpoint::open(golden.to_str().unwrap()).unwrap().save(&canonical, Storage::F32).unwrap();
    let models = MODELS.iter().map(|model| goldens().join("models").join(model)).chain([canonical]);
    for source in models {
        let model = source.display().to_string();
        let model = model.as_str();
        let (weights, config) = files(&source);
        fs::copy(source.join(&weights), folder.path().join(&weights)).unwrap();
        let json: Value = serde_json::from_str(&fs::read_to_string(source.join(&config)).unwrap()).unwrap();
        beside(&source, &config, folder.path());
        let file = folder.path().join(&config);
        fs::write(&file, json.to_string()).unwrap();
        let whole = open(folder.path(), model).unwrap().config;
        let mut all = Vec::new();
        paths(&json, "", &mut all);
        for path in &all {
            for value in impossible() {
                let mut changed = json.clone();
                *changed.pointer_mut(path).unwrap() = value.clone();
                fs::write(&file, changed.to_string()).unwrap();
                let what = format!("{model}: {path} = {value}");
                tried += 1;
                match open(folder.path(), &what) {
                    Err(_) => refused += 1,
                    // An option that is off or another, but never a size that no tensor has.
                    Ok(opened) => {
                        let (got, want) = (&opened.config, &whole);
                        let sizes = |cfg: &vit_gpu::internals::model::VitConfig| {
                            (cfg.embed_dim, cfg.depth, cfg.mlp_hidden, cfg.patch_size, cfg.in_chans, cfg.num_classes)
                        };
                        assert_eq!(sizes(got), sizes(want), "{what}");
                    }
                }
            }
        }
        fs::remove_file(folder.path().join(&weights)).unwrap();
        fs::remove_file(&file).unwrap();
    }
    assert!(tried > 5_000 && refused * 4 > tried, "{refused} of {tried} are refused");
}

#[test]
fn a_key_that_is_read_as_text_takes_nothing_else() {
    let keys = ["model_type", "architecture", "global_pool", "pool_type", "transformers_version", "architectures"];
    let (folder, mut tried) = (tempfile::tempdir().unwrap(), 0);
    for model in MODELS {
        let source = goldens().join("models").join(model);
        let (weights, config) = files(&source);
        fs::copy(source.join(&weights), folder.path().join(&weights)).unwrap();
        beside(&source, &config, folder.path());
        let file = folder.path().join(&config);
        fs::copy(source.join(&config), &file).unwrap();
        let json: Value = serde_json::from_str(&fs::read_to_string(source.join(&config)).unwrap()).unwrap();
        let mut all = Vec::new();
        paths(&json, "", &mut all);
        // The text model's part is not read.
        let read = all.iter().filter(|path| !path.starts_with("/text_config"));
        for path in read.filter(|path| keys.iter().any(|key| path.ends_with(&format!("/{key}")))) {
            for value in [json!(5), json!(true), json!({}), json!([5])] {
                let mut changed = json.clone();
                *changed.pointer_mut(path).unwrap() = value;
                fs::write(&file, changed.to_string()).unwrap();
                let key = path.rsplit('/').next().unwrap();
                let error = open(folder.path(), model).err().unwrap_or_else(|| panic!("{model}: {path}"));
                assert!(error.contains(key), "{model}: {path}: {error}");
                tried += 1;
            }
        }
        fs::remove_file(folder.path().join(&weights)).unwrap();
        fs::remove_file(&file).unwrap();
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn tensors_without_values_or_of_other_ranks_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for model in MODELS {
        let source = goldens().join("models").join(model);
        let (weights, config) = files(&source);
        fs::copy(source.join(&config), folder.path().join(&config)).unwrap();
        beside(&source, &config, folder.path());
        let map = read_map(&source.join(&weights));
        let used: Vec<String> = map.keys().filter(|name| !ignorable(model, name)).cloned().collect();
        for name in &used {
            let (dtype, shape, data) = map[name].clone();
            let emptied: Vec<Vec<usize>> = (0..shape.len())
                .map(|axis| shape.iter().enumerate().map(|(i, n)| if i == axis { 0 } else { *n }).collect())
                .chain([vec![0], vec![0, usize::MAX >> 8]])
                .collect();
            let scalar = data[..data.len() / shape.iter().product::<usize>().max(1)].to_vec();
            let shapes = emptied.into_iter().map(|shape| (shape, Vec::new())).chain([
                (Vec::new(), scalar),
                ([&[1, 1, 1, 1][..], &shape].concat(), data.clone()),
                (vec![shape.iter().product()], data.clone()),
            ]);
            for (changed, data) in shapes.filter(|(changed, _)| *changed != shape) {
                let mut map: TensorMap = map.clone();
                map.insert(name.clone(), (dtype, changed.clone(), data));
                write_model(&folder.path().join(&weights), &map);
                let what = format!("{model}: {name} {changed:?}");
                // No registers are as good as none.
                let none = name.ends_with("register_tokens") || name.ends_with("reg_token");
                assert!(open(folder.path(), &what).is_err() || none, "{what} opens");
            }
        }
        fs::remove_file(folder.path().join(&weights)).unwrap();
        fs::remove_file(folder.path().join(&config)).unwrap();
    }
}

/// Tensors that a family may ignore, whatever they are, and those of the text half, without which the picture half opens
/// (`words.rs` tests them).
fn ignorable(model: &str, name: &str) -> bool {
    const OF_TEXT: [&str; 9] = [
        "text_model.",
        "text_projection",
        "text.",
        "transformer.",
        "token_embedding.",
        "positional_embedding",
        "ln_final.",
        "logit_scale",
        "logit_bias",
    ];
    if (model.contains("clip") || model.contains("siglip")) && OF_TEXT.iter().any(|part| name.starts_with(part)) {
        return true;
    }
    let folder = goldens().join("models").join(model);
    Checkpoint::open(folder.to_str().unwrap()).unwrap().ignored.iter().any(|ignored| name.ends_with(ignored.as_str()))
}
