//! The files of a model: weights, configuration, preprocessing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::json;
use super::tensors::Tensors;
use crate::error::{Error, Result};

/// The files of a model on disk.
pub struct Files {
    pub folder: PathBuf,
    /// The weights file, if the user named a file; `None` if they named a folder.
    weights: Option<PathBuf>,
}

/// What PEFT writes beside an adapter's weights.
const ADAPTER: &str = "adapter_config.json";
/// The weights of an adapter.
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// A tensor whose name contains one of these belongs to an adapter such as LoRA, which is not a whole model.
const ADAPTED: [&str; 7] =
    [".lora_A.", ".lora_B.", ".lora_down.", ".lora_up.", ".lora_embedding_A", ".lora_magnitude_vector", ".hada_w1_a"];
/// File endings of weight formats that are not supported.
const OTHERS: [&str; 10] = ["bin", "pt", "pth", "ckpt", "onnx", "gguf", "h5", "msgpack", "tflite", "pb"];

impl Files {
    pub fn find(path: &Path) -> Result<Files> {
        if path.is_dir() {
            return Ok(Files { folder: path.to_path_buf(), weights: None });
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Files { folder, weights: Some(path.to_path_buf()) })
    }

    /// The weights: the named file, with the other shards if it is one of several. In a folder: `model.safetensors`, its
    /// shards, `open_clip_model.safetensors`, the only `.safetensors` or `.npz` file, or the only complete set of shards,
    /// in the folder.
    pub fn tensors(&self) -> Result<Tensors> {
        let tensors = match &self.weights {
            Some(file) => self.named(file)?,
            None => self.found()?,
        };
        match adapted(&tensors) {
            Some(sign) => {
                let how = "`adapter_model.safetensors` is merged if its adapter_config.json is beside it";
                Err(Error::model(&tensors.name, format!("{sign}, not a whole model: {how}")))
            }
            None => Ok(tensors),
        }
    }

    fn named(&self, file: &Path) -> Result<Tensors> {
        let name = file_name(file);
        if name.ends_with(".index.json") {
            return Tensors::open_index(file);
        }
        match Shard::named(name) {
            Some(shard) => self.shards(&shard, &self.entries()?),
            None => Tensors::open(file),
        }
    }

    fn found(&self) -> Result<Tensors> {
        let fail = |reason: String| Err(Error::model(self.folder.display().to_string(), reason));
        let index = "model.safetensors.index.json";
        for name in ["model.safetensors", index, "open_clip_model.safetensors"] {
            let file = self.folder.join(name);
            if file.is_file() {
                return if name == index { Tensors::open_index(&file) } else { Tensors::open(&file) };
            }
        }
        let entries = self.entries()?;
        let ends = |ending: &str| -> Vec<&PathBuf> {
            entries.iter().filter(|file| file_name(file).ends_with(ending)).collect()
        };
        if let [only] = ends(".safetensors.index.json")[..] {
            return Tensors::open_index(only);
        }
        let (single, mut sets) = (ends(".safetensors"), BTreeMap::new());
        let (parts, single): (Vec<_>, Vec<_>) =
            single.into_iter().partition(|file| Shard::named(file_name(file)).is_some());
        for shard in parts.into_iter().filter_map(|file| Shard::named(file_name(file))) {
            sets.entry((shard.stem.clone(), shard.of.clone())).or_insert(shard);
        }
        let named_model: Vec<&Shard> = sets.values().filter(|shard| shard.stem == "model").collect();
        let sets: Vec<&Shard> = sets.values().collect();
        match (&named_model[..], &sets[..], &single[..]) {
            ([shard], ..) | ([], [shard], []) => return self.shards(shard, &entries),
            _ => {}
        }
        let other = OTHERS.iter().flat_map(|ending| ends(&format!(".{ending}"))).next();
        let several = |files: &[&PathBuf], kind: &str| {
            let names: Vec<_> = files.iter().take(3).map(|file| file_name(file)).collect();
            let more = if files.len() > 3 { ", …" } else { "" };
            fail(format!("the folder has {} {kind} files ({}{more}): name one of them", files.len(), names.join(", ")))
        };
        match (&ends(".safetensors")[..], &ends(".npz")[..], other) {
            ([only], ..) => Tensors::open(only),
            ([], [only], _) => Tensors::open_archive(only),
            ([], [], Some(other)) => {
                fail(format!("only `{}` is there: weights are read as safetensors", other.display()))
            }
            ([], [], None) => fail("the folder has no .safetensors file".to_owned()),
            ([], archives, _) => several(archives, ".npz"),
            (files, ..) => several(files, ".safetensors"),
        }
    }

    /// Every file of the folder, by name.
    fn entries(&self) -> Result<Vec<PathBuf>> {
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder };
        let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
        let mut files: Vec<PathBuf> =
            entries.filter_map(|entry| Some(self.folder.join(entry.ok()?.file_name()))).collect();
        files.sort();
        Ok(files)
    }

    /// All shards of the set that one belongs to: `stem-00001-of-0000n.safetensors` to `stem-0000n-of-0000n.safetensors`.
    fn shards(&self, one: &Shard, entries: &[PathBuf]) -> Result<Tensors> {
        let shards = entries.iter().filter_map(|file| Some((Shard::named(file_name(file))?, file.clone())));
        let there: BTreeMap<usize, PathBuf> = shards
            .filter(|(shard, _)| (&shard.stem, &shard.of) == (&one.stem, &one.of))
            .map(|(shard, file)| (shard.number, file))
            .collect();
        if let Some(missing) = (1..=one.count).find(|number| !there.contains_key(number)) {
            let missing = one.file(missing);
            let reason =
                format!("`{missing}` is missing: {} of the model's {} files are there", there.len(), one.count);
            return Err(Error::model(self.folder.display().to_string(), reason));
        }
        let files: Vec<PathBuf> = there.into_values().collect();
        Tensors::open_all(self.folder.join(one.file(1)).display().to_string(), &files)
    }

    /// If this is an adapter in PEFT's format: its weights, and its configuration with the name of the file. Weights of another
    /// name in such a folder are opened for themselves.
    pub fn adapter(&self) -> Result<Option<(PathBuf, String, Value)>> {
        let weights = match &self.weights {
            Some(file) if file_name(file) != ADAPTER_WEIGHTS => return Ok(None),
            Some(file) => file.clone(),
            None => self.folder.join(ADAPTER_WEIGHTS),
        };
        Ok(self.json(ADAPTER)?.map(|(file, json)| (weights, file, json)))
    }

    fn json(&self, name: &str) -> Result<Option<(String, Value)>> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let (json, file) = (json::read(&path)?, path.display().to_string());
        Ok(Some((file.clone(), json::object(&file, json)?)))
    }

    /// The configuration: `config.json`, or `open_clip_config.json` if there is only that one or the weights are open_clip's. With both, open_clip's fields win.
    pub fn config(&self, weights: &str) -> Result<Option<Value>> {
        let config = self.json("config.json")?.map(|(_, json)| json);
        let own = config.is_none() || weights.ends_with("open_clip_model.safetensors");
        let open_clip = if own { self.json("open_clip_config.json")?.map(|(_, json)| json) } else { None };
        Ok(match (open_clip, config) {
            (Some(Value::Object(mut open_clip)), Some(Value::Object(config))) => {
                for (key, value) in config {
                    open_clip.entry(key).or_insert(value);
                }
                Some(Value::Object(open_clip))
            }
            (open_clip, config) => open_clip.or(config),
        })
    }

    /// The image processor's settings: `processor_config.json` if it has an image processor, otherwise `preprocessor_config.json`.
    pub fn preprocessor(&self) -> Result<Option<(String, Value)>> {
        let processor = self.json("processor_config.json")?.filter(|(_, json)| json.get("image_processor").is_some());
        match processor {
            Some(found) => Ok(Some(found)),
            None => self.json("preprocessor_config.json"),
        }
    }
}

/// If the tensors belong to an adapter, which is not a whole model: what they are, and how that was recognised.
pub fn adapted(tensors: &Tensors) -> Option<String> {
    let is_adapted = |name: &&str| ADAPTED.iter().any(|part| name.contains(part));
    let name = tensors.shapes().map(|(name, _)| name).find(is_adapted)?;
    Some(format!("this is an adapter (tensor `{name}` is part of one)"))
}

/// The name of one shard of a model that has no index, such as `stem-00002-of-00003.safetensors`.
#[derive(Debug, PartialEq, Eq)]
struct Shard {
    stem: String,
    number: usize,
    /// The number of files as it is written in the name, such as `00003`.
    of: String,
    count: usize,
}

impl Shard {
    fn named(name: &str) -> Option<Shard> {
        let (rest, of) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let whole = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
        let (number, count) = (whole(number)?, whole(of)?);
        (1..=count).contains(&number).then(|| Shard { stem: stem.to_owned(), number, of: of.to_owned(), count })
    }

    /// The name of another file of the same model.
    fn file(&self, number: usize) -> String {
        format!("{}-{number:0width$}-of-{}.safetensors", self.stem, self.of, width = self.of.len())
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_by_their_names() {
        let shard = Shard::named("open_clip_model-00002-of-00013.safetensors").unwrap();
        assert_eq!((shard.stem.as_str(), shard.number, shard.count), ("open_clip_model", 2, 13));
        assert_eq!(shard.file(9), "open_clip_model-00009-of-00013.safetensors");
        for name in [
            "model.safetensors",
            "a-of-b.safetensors",
            "a-3-of-2.safetensors",
            "a-0-of-2.safetensors",
            "a-1-of-2.bin",
            "a-+1-of-2.safetensors",
        ] {
            assert_eq!(Shard::named(name), None, "{name}");
        }
    }
}
