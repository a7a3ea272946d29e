//! The files of a model: weights, configuration, preprocessing.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::safetensors::Tensors;
use crate::error::{Error, Result};

/// The files of a model on disk.
pub struct Files {
    pub folder: PathBuf,
    /// A weights file that was named; `None` where the folder was.
    weights: Option<PathBuf>,
}

impl Files {
    pub fn find(path: &Path) -> Result<Files> {
        if path.is_dir() {
            return Ok(Files { folder: path.to_path_buf(), weights: None });
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Files { folder, weights: Some(path.to_path_buf()) })
    }

    /// The weights: the file that was named; else `model.safetensors`, its shards, `open_clip_model.safetensors`, or the
    /// only `.safetensors` or `.npz` file there is.
    pub fn tensors(&self) -> Result<Tensors> {
        if let Some(file) = &self.weights {
            let name = file.to_string_lossy();
            return if name.ends_with(".index.json") {
                Tensors::open_index(file)
            } else if name.ends_with(".npz") {
                Tensors::open_archive(file)
            } else {
                Tensors::open(file)
            };
        }
        let index = self.folder.join("model.safetensors.index.json");
        for name in ["model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors"] {
            let file = self.folder.join(name);
            if file.is_file() {
                return if file == index { Tensors::open_index(&file) } else { Tensors::open(&file) };
            }
        }
        let entries = std::fs::read_dir(&self.folder).map_err(Error::io(&self.folder))?;
        let files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        let ends = |ending: &str| {
            let mut found: Vec<_> =
                files.iter().filter(|file| file.to_string_lossy().ends_with(ending)).cloned().collect();
            found.sort();
            found
        };
        let fail = |reason: String| Err(Error::model(self.folder.display().to_string(), reason));
        let pickled = ["bin", "pt", "pth"].iter().flat_map(|ending| ends(&format!(".{ending}"))).next();
        match (&ends(".safetensors")[..], &ends(".npz")[..], pickled) {
            ([only], ..) => Tensors::open(only),
            ([], [only], _) => Tensors::open_archive(only),
            ([], [], Some(pickle)) => {
                fail(format!("only `{}` is there: weights are read as safetensors", pickle.display()))
            }
            ([], [], None) => fail("the folder has no .safetensors file".to_owned()),
            ([], several, _) => fail(format!("the folder has {} .npz files: name one of them", several.len())),
            (several, ..) => fail(format!("the folder has {} .safetensors files: name one of them", several.len())),
        }
    }

    fn json(&self, name: &str) -> Result<Option<(String, Value)>> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let json = serde_json::from_str(&text).map_err(|error| Error::config(path.display().to_string(), error))?;
        Ok(Some((path.display().to_string(), json)))
    }

    /// `config.json`, or open_clip's where that is beside it for the weights or alone; open_clip's fields come first.
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

    /// `processor_config.json` where it holds an image processor, else `preprocessor_config.json`.
    pub fn preprocessor(&self) -> Result<Option<(String, Value)>> {
        let processor = self.json("processor_config.json")?.filter(|(_, json)| json.get("image_processor").is_some());
        match processor {
            Some(found) => Ok(Some(found)),
            None => self.json("preprocessor_config.json"),
        }
    }
}
