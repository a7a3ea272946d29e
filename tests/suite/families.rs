//! Every family of checkpoints: each tensor that is missing, renamed, misshapen or one too many is refused by its name.

use std::path::Path;

use safetensors::Dtype;
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};

use crate::checkpoints::{TensorMap, read_map, write_model};
use crate::models::goldens;

/// A golden of every layout.
const MODELS: [&str; 43] = [
    "timm_plain",
    "timm_distilled",
    "timm_swiglu_packed",
    "timm_swiglu_split_rms",
    "timm_parallel_scaling",
    "timm_parallel_scaling_bias",
    "timm_parallel_things",
    "timm_pool_map",
    "timm_gamma_names",
    "hf_vit",
    "hf_deit_teacher",
    "hf5_vit",
    "hf_vit_mae",
    "hf_dinov2_registers",
    "hf_dinov2_swiglu",
    "hf5_dinov2_swiglu",
    "hf_clip_full",
    "hf_siglip_vision",
    "hf_siglip_classification",
    "torchvision",
    "meta_dinov2_linear4",
    "meta_dinov2_registers_swiglu",
    "open_clip_quickgelu",
    "open_clip_timm",
    "openai_clip",
    "jax_vit",
    "jax_big_vision_map",
    "luc_0_1",
    "luc_0_2",
    "luc_0_6_6",
    "luc_0_7",
    "luc_0_10",
    "luc_1_2",
    "luc_1_5_one_head",
    "luc_1_17",
    "luc_1_17_mean",
    "simple_vit_old",
    "simple_vit",
    "patchlayer",
    "zup_fused",
    "zup_readme",
    "enc_norm_first",
    "per_head",
];

/// Those of the above that have a text half.
const WITH_TEXTS: [&str; 4] = ["hf_clip_full", "open_clip_quickgelu", "open_clip_timm", "openai_clip"];

/// The name of a golden model's weights as a safetensors file.
fn weights(folder: &Path) -> &'static str {
    let open_clip = "open_clip_model.safetensors";
    if folder.join(open_clip).exists() { open_clip } else { "model.safetensors" }
}

/// The tensors of a golden model, an archive's as f32.
fn tensors(folder: &Path) -> TensorMap {
    let archive = folder.join("vit.npz");
    if !archive.exists() {
        return read_map(&folder.join(weights(folder)));
    }
    let file = Tensors::open_archive(&archive).unwrap();
    let names: Vec<String> = file.shapes().map(|(name, _)| name.to_owned()).collect();
    let each = |name: String| {
        let (shape, values) = file.values(&name).ok()?;
        Some((name, (Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())))
    };
    names.into_iter().filter_map(each).collect()
}

/// Opens the model with these tensors and the golden's configuration.
fn open(folder: &Path, map: &TensorMap) -> Result<Checkpoint, String> {
    let written = tempfile::tempdir().unwrap();
    write_model(&written.path().join(weights(folder)), map);
    for file in ["config.json", "open_clip_config.json"] {
        if folder.join(file).exists() {
            std::fs::copy(folder.join(file), written.path().join(file)).unwrap();
        }
    }
    Checkpoint::open(written.path().to_str().unwrap()).map_err(|error| error.to_string())
}

/// The same, where a text half must be there if the whole model has one.
fn open_both(folder: &Path, map: &TensorMap, texts: bool) -> Result<Checkpoint, String> {
    let opened = open(folder, map)?;
    match &opened.text {
        Err(reason) if texts => Err(reason.clone()),
        _ => Ok(opened),
    }
}

/// What a message must hold to name a tensor: the name, or where another of its module must take the blame (a head whose
/// weight is gone has a bias too many) the module's.
fn named(error: &str, tensor: &str) -> bool {
    let module = tensor.rsplit_once(['.', '/', '_']).map_or(tensor, |(module, _)| module);
    // Blocks are alike: a part that the first one lacks is too many in the others.
    let part = module.rsplit_once(|c: char| c.is_ascii_digit()).map_or(module, |(_, part)| part);
    error.contains(tensor) || error.contains(module) || (!part.is_empty() && error.contains(part))
}

#[test]
fn every_tensor_is_needed_and_named() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for model in MODELS {
        let folder = goldens().join("models").join(model);
        let map = tensors(&folder);
        let whole = open(&folder, &map).unwrap_or_else(|error| panic!("{model}: {error}"));
        assert_eq!(whole.text.is_ok(), WITH_TEXTS.contains(&model), "{model}: {:?}", whole.text);
        for tensor in map.keys().filter(|tensor| !whole.ignored.contains(tensor)) {
            let mut try_with = |what: &str, change: &dyn Fn(&mut TensorMap)| {
                let before = map.len();
                let mut map = map.clone();
                change(&mut map);
                tried += 1;
                match open_both(&folder, &map, whole.text.is_ok()) {
                    // A number or a vector of one.
                    Ok(_) if tensor.starts_with("logit_") && map.len() == before && map.contains_key(tensor) => {}
                    // Eras differ in nothing but a leading 1.
                    Ok(_) if model.starts_with("luc_1_17") && ["cls_token", "pos_embedding"].contains(&&**tensor) => {}
                    // Without registers it is a model of its own, and nothing beside the weights tells.
                    Ok(_) if tensor == "register_tokens" && map.len() == before - 1 => {}
                    Ok(_) => wrong.push(format!("{model}: {tensor} {what}: it opens")),
                    // The tensors a layout is known by.
                    Err(error) if error.contains("don't belong to a known layout") => {}
                    Err(error) if error.contains('\n') || !named(&error, tensor) => {
                        wrong.push(format!("{model}: {tensor} {what}: {error}"));
                    }
                    Err(_) => {}
                }
            };
            try_with("is missing", &|map| drop(map.remove(tensor)));
            try_with("has an axis too many", &|map| map.get_mut(tensor).unwrap().1.insert(0, 1));
            try_with("is renamed", &|map| {
                let value = map.remove(tensor).unwrap();
                map.insert(format!("renamed.{tensor}"), value);
            });
        }
        let mut more = map.clone();
        more.insert("surprise.weight".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
        let error = open(&folder, &more).map(|_| ()).unwrap_err();
        assert!(error.contains("surprise.weight"), "{model}: {error}");
    }
    assert!(wrong.is_empty(), "{} of {tried}: {wrong:#?}", wrong.len());
    assert!(tried > 2000, "{tried}");
}

#[test]
fn head_counts_that_cannot_be_are_refused() {
    for (model, key) in [
        ("hf_vit", "num_attention_heads"),
        ("hf_dinov2_registers", "num_attention_heads"),
        ("torchvision", "num_heads"),
        ("openai_clip", "num_heads"),
        ("meta_dinov2", "num_heads"),
        ("timm_qk_norm", "model_args/num_heads"),
    ] {
        let folder = goldens().join("models").join(model);
        let written = tempfile::tempdir().unwrap();
        write_model(&written.path().join(weights(&folder)), &tensors(&folder));
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        *config.pointer_mut(&format!("/{key}")).unwrap() = 5.into();
        std::fs::write(written.path().join("config.json"), config.to_string()).unwrap();
        let error = Checkpoint::open(written.path().to_str().unwrap()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("heads"), "{model}: {error}");
    }
}
