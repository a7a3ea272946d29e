//! Which of a model's files are needed to run it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::name::is_file_name;

/// Configurations that are taken where they exist.
const CONFIGS: [&str; 5] =
    ["config.json", "preprocessor_config.json", "processor_config.json", "open_clip_config.json", ADAPTER];
/// What makes a repository an adapter, and its weights.
const ADAPTER: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// Files of tokenizers, taken where they exist by builds that read texts.
const TOKENIZERS: [&str; 6] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model", "vocab.json", "merges.txt"];

/// The configurations and the tokenizer's files that a model has, and those that it has not, of its list of files.
pub fn configs<'a>(files: &[&'a str]) -> (Vec<&'a str>, Vec<&'static str>) {
    let tokenizers = if cfg!(feature = "text") { &TOKENIZERS[..] } else { &[] };
    let wanted = CONFIGS.iter().chain(tokenizers).copied();
    let find = |name: &str| files.iter().copied().find(|file| *file == name);
    let absent = wanted.clone().filter(|name| find(name).is_none()).collect();
    // A tokenizer.json is a whole tokenizer.
    let whole = files.contains(&"tokenizer.json");
    let present = wanted.filter(|name| !(whole && ["vocab.json", "merges.txt"].contains(name)));
    (present.filter_map(find).collect(), absent)
}

/// Whether a model of images and texts may have a tokenizer that is not there: by its configuration, the files that are there, and
/// which of the others nobody knows about.
pub fn lacks_tokenizer(config: &[u8], files: &[&str], unknown: impl Fn(&str) -> bool) -> bool {
    if !cfg!(feature = "text") {
        return false;
    }
    let Ok(json) = serde_json::from_slice::<Value>(config) else { return false };
    let needed = json.get("text_config").is_some() || json["model_cfg"]["text_cfg"].get("hf_tokenizer_name").is_some();
    let vocabularies = ["tokenizer.json", "vocab.json", "spiece.model"];
    needed && !vocabularies.iter().any(|name| files.contains(name)) && vocabularies.iter().any(|name| unknown(name))
}

/// Endings of files that may hold pickled weights.
const PICKLED: [&str; 5] = [".bin", ".pth", ".pt", ".ckpt", ".pkl"];
/// Pickles that hold something else.
const NO_WEIGHTS: [&str; 4] = ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"];

/// The files with a model's weights.
#[derive(Debug, PartialEq, Eq)]
pub enum Weights {
    /// These.
    Files(Vec<String>),
    /// Those that this index names.
    Index(String),
}

/// Why a model can't be run, as far as its list of files tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// All its weights are pickled; one of these files.
    Pickled(String),
    /// There are several weights files, and none is the main one.
    Several(Vec<String>),
    /// There are no weights, or some shards are missing.
    NoWeights,
}

/// Takes the weights in the order in which an opened folder would: `model.safetensors`, its index, open_clip's file, another
/// index, a set of shards, the only `.safetensors` or `.npz` file.
///
/// # Errors
/// [`Unfit`].
pub fn weights(files: &[&str]) -> Result<Weights, Unfit> {
    let files: BTreeSet<&str> = files.iter().copied().filter(|name| is_file_name(name)).collect();
    let index = "model.safetensors.index.json";
    // An adapter is what is opened, whatever lies beside it.
    if files.contains(ADAPTER) {
        let all: Vec<&str> = files.iter().copied().filter(|name| name.starts_with("adapter_model.")).collect();
        return match all[..] {
            _ if all.contains(&ADAPTER_WEIGHTS) => Ok(Weights::Files(vec![ADAPTER_WEIGHTS.to_owned()])),
            [only] if only.ends_with(".bin") => Err(Unfit::Pickled(only.to_owned())),
            _ => Err(Unfit::NoWeights),
        };
    }
    for name in ["model.safetensors", index, "open_clip_model.safetensors"] {
        if files.contains(name) {
            let name = name.to_owned();
            return Ok(if name == index { Weights::Index(name) } else { Weights::Files(vec![name]) });
        }
    }
    let ending = |ending: &str| -> Vec<&str> { files.iter().copied().filter(|name| name.ends_with(ending)).collect() };
    if let [only] = ending(".safetensors.index.json")[..] {
        return Ok(Weights::Index(only.to_owned()));
    }
    let found = ending(".safetensors");
    let (parts, single): (Vec<&str>, Vec<&str>) = found.iter().partition(|name| shard(name).is_some());
    let sets: BTreeSet<(&str, usize)> = parts.iter().filter_map(|name| shard(name)).collect();
    let main = sets.iter().find(|(stem, _)| *stem == "model");
    if let Some(set) = main.or(sets.first().filter(|_| sets.len() == 1 && single.is_empty())) {
        let own: Vec<String> =
            parts.iter().filter(|name| shard(name) == Some(*set)).map(|name| (*name).to_owned()).collect();
        return if own.len() == set.1 { Ok(Weights::Files(own)) } else { Err(Unfit::NoWeights) };
    }
    match (&found[..], &ending(".npz")[..]) {
        ([only], _) | ([], [only]) => return Ok(Weights::Files(vec![(*only).to_owned()])),
        ([], []) => {}
        ([], several) | (several, _) => {
            return Err(Unfit::Several(several.iter().map(|name| (*name).to_owned()).collect()));
        }
    }
    let pickled = |name: &&&str| PICKLED.iter().any(|ending| name.ends_with(ending)) && !NO_WEIGHTS.contains(name);
    // `pytorch_model.bin` and its like first, should there be others.
    let all: Vec<&str> = files.iter().filter(pickled).copied().collect();
    match all.iter().find(|name| name.contains("pytorch_model")).or(all.first()) {
        Some(file) => Err(Unfit::Pickled((*file).to_owned())),
        None => Err(Unfit::NoWeights),
    }
}

/// Of a shard's name, such as `stem-00002-of-00003.safetensors`: the stem, and how many there are.
fn shard(name: &str) -> Option<(&str, usize)> {
    let (rest, of) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && digits(of)).then_some(())?;
    Some((stem, of.parse().ok().filter(|count| *count > 0)?))
}

/// The files that an index names.
///
/// # Errors
/// What is wrong with the index: no map, or a name that leads out of the folder.
pub fn shards_of(index: &[u8]) -> Result<Vec<String>, String> {
    let json: Value = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    let map = json["weight_map"].as_object().ok_or("`weight_map` is missing")?;
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map {
        let name = shard.as_str().unwrap_or_default();
        if !is_file_name(name) || !name.ends_with(".safetensors") {
            return Err(format!("it puts `{tensor}` into {shard}, which is not the name of a weights file beside it"));
        }
        shards.insert(name.to_owned());
    }
    if shards.is_empty() { Err("`weight_map` is empty".to_owned()) } else { Ok(shards.into_iter().collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Result<Weights, Unfit> {
        Ok(Weights::Files(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn the_main_weights_are_taken_and_nothing_else() {
        let transformers = ["config.json", "pytorch_model.bin", "model.safetensors", "tf_model.h5", "onnx/model.onnx"];
        assert_eq!(weights(&transformers), files(&["model.safetensors"]));
        let both = ["open_clip_model.safetensors", "model.safetensors.index.json"];
        assert_eq!(weights(&both), Ok(Weights::Index("model.safetensors.index.json".into())));
        let open_clip =
            ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "x.safetensors"];
        assert_eq!(weights(&open_clip), files(&["open_clip_model.safetensors"]));
        assert_eq!(weights(&["ViT-B_16.npz", "README.md"]), files(&["ViT-B_16.npz"]));
        let shards = ["a-1-of-2.safetensors", "a-2-of-2.safetensors"];
        assert_eq!(weights(&shards), files(&shards));
        assert_eq!(weights(&shards[..1]), Err(Unfit::NoWeights));
        assert_eq!(weights(&["sub/model.safetensors"]), Err(Unfit::NoWeights));
        let several = ["a.safetensors".to_owned(), "b.safetensors".to_owned()];
        assert_eq!(weights(&["a.safetensors", "b.safetensors"]), Err(Unfit::Several(several.to_vec())));
    }

    #[cfg(feature = "text")]
    #[test]
    fn tokenizers_are_taken_with_models_that_read_texts() {
        let (present, absent) =
            configs(&["config.json", "tokenizer.json", "vocab.json", "merges.txt", "model.safetensors"]);
        assert_eq!(present, ["config.json", "tokenizer.json"]);
        assert!(absent.contains(&"spiece.model") && !absent.contains(&"vocab.json"), "{absent:?}");
        assert_eq!(configs(&["merges.txt", "vocab.json"]).0, ["vocab.json", "merges.txt"]);
        let clip = br#"{"text_config": {}}"#;
        assert!(lacks_tokenizer(clip, &["config.json"], |_| true));
        assert!(!lacks_tokenizer(clip, &["spiece.model"], |_| true) && !lacks_tokenizer(clip, &[], |_| false));
        assert!(lacks_tokenizer(br#"{"model_cfg": {"text_cfg": {"hf_tokenizer_name": "a"}}}"#, &[], |_| true));
        assert!(
            !lacks_tokenizer(br#"{"model_cfg": {"text_cfg": {}}}"#, &[], |_| true)
                && !lacks_tokenizer(b"{}", &[], |_| true)
        );
    }

    #[test]
    fn an_adapter_is_an_adapter_whatever_lies_beside_it() {
        let beside = ["adapter_config.json", "model.safetensors", "adapter_model.safetensors", "training_args.bin"];
        assert_eq!(weights(&beside), files(&["adapter_model.safetensors"]));
        let pickled = "adapter_model.bin".to_owned();
        assert_eq!(weights(&["adapter_config.json", "adapter_model.bin"]), Err(Unfit::Pickled(pickled)));
        assert_eq!(weights(&["adapter_config.json", "model.safetensors"]), Err(Unfit::NoWeights));
    }

    #[test]
    fn pickles_are_never_weights() {
        let name = "pytorch_model.bin".to_owned();
        assert_eq!(weights(&["a.pth", "pytorch_model.bin", "training_args.bin"]), Err(Unfit::Pickled(name)));
        assert_eq!(weights(&["training_args.bin", "README.md"]), Err(Unfit::NoWeights));
    }

    #[test]
    fn an_index_names_files_beside_it() {
        let index = |shard: &str| format!(r#"{{"weight_map": {{"a": "model-1.safetensors", "b": {shard}}}}}"#);
        assert_eq!(shards_of(index("\"b.safetensors\"").as_bytes()).unwrap(), ["b.safetensors", "model-1.safetensors"]);
        for hostile in
            ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "..\\\\x.safetensors", "C:x.safetensors"]
        {
            let error = shards_of(index(&format!("\"{hostile}\"")).as_bytes()).unwrap_err();
            assert!(error.contains("which is not the name of a weights file"), "{error}");
        }
        for bad in ["\"x.bin\"", "\"\"", "1", "null"] {
            assert!(shards_of(index(bad).as_bytes()).is_err(), "{bad}");
        }
        assert!(shards_of(b"{}").is_err() && shards_of(b"{\"weight_map\": {}}").is_err() && shards_of(b"x").is_err());
    }
}
