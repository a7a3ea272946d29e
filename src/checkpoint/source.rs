//! Where a model's files are, and what they are once they are opened.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::Files;
use super::lora::{self, BaseName, Merged};
use super::tensors::Tensors;
use crate::error::{Error, Result};

/// Where a model is: a path, or `random:…`; of an adapter also where its base model is, if that is not where it says.
#[derive(Debug, Clone)]
pub struct Place {
    /// A file or folder, or `random:ARCH@SEED`.
    pub path: String,
    /// The folder of the base model, if the path is an adapter.
    pub base: Option<PathBuf>,
}

impl<T: AsRef<str> + ?Sized> From<&T> for Place {
    fn from(path: &T) -> Place {
        Place { path: path.as_ref().to_owned(), base: None }
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Place {
        place.clone()
    }
}

impl Place {
    /// If this is an adapter whose base model is at no path: the base's name on the hub (`owner/name[@revision]`).
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration that can't be read or names no base.
    pub fn base_on_hub(path: &str) -> Result<Option<String>> {
        let files = Files::find(Path::new(path))?;
        let Some((_, file, config)) = files.adapter()? else { return Ok(None) };
        // Nothing is downloaded for an adapter that can't be merged.
        lora::check((&file, &config))?;
        let base = BaseName::read(&file, &config)?;
        Ok(at_path(&files.folder, &base).is_none().then(|| base.on_hub()))
    }
}

/// The path that an adapter in `folder` names as its base, if something is there: seen from the folder, or from the working folder.
fn at_path(folder: &Path, base: &BaseName) -> Option<PathBuf> {
    [folder.join(&base.name), PathBuf::from(&base.name)].into_iter().find(|path| path.exists())
}

/// A model's files, opened.
pub struct Opened {
    /// The folder of the model's own files: of an adapter, its base model's.
    pub folder: PathBuf,
    pub tensors: Tensors,
    pub config: Option<Value>,
    /// The file with the image processor's settings, and what is in it.
    pub preprocessor: Option<(String, Value)>,
    pub merged: Option<Merged>,
}

impl Opened {
    /// Opens files at a path, and merges them into their base if they are an adapter.
    ///
    /// # Errors
    /// As [`super::Checkpoint::open`].
    pub fn open(place: &Place) -> Result<Opened> {
        let files = Files::find(Path::new(&place.path))?;
        match files.adapter()? {
            None => Opened::whole(&files),
            Some((weights, file, config)) => adapted(place, &files, &weights, (&file, &config)),
        }
    }

    fn whole(files: &Files) -> Result<Opened> {
        let tensors = files.tensors()?;
        let config = files.config(&tensors.name)?;
        Ok(Opened { folder: files.folder.clone(), tensors, config, preprocessor: files.preprocessor()?, merged: None })
    }
}

fn adapted(place: &Place, files: &Files, weights: &Path, config: (&str, &Value)) -> Result<Opened> {
    let fail = |reason: String| Err(Error::model(&place.path, reason));
    if !weights.is_file() {
        let pickled = files.folder.join("adapter_model.bin").is_file();
        let advice = "save the adapter again in Python, with PeftModel.from_pretrained(base, folder).save_pretrained(new_folder)";
        let how =
            if pickled { format!(", only adapter_model.bin, which is never read: {advice}") } else { String::new() };
        return fail(format!("the folder has an adapter_config.json but no adapter_model.safetensors{how}"));
    }
    lora::check(config)?;
    let name = BaseName::read(config.0, config.1)?;
    let Some(path) = place.base.clone().or_else(|| at_path(&files.folder, &name)) else {
        let file = config.0;
        return fail(format!("its base model `{}` is not here (`base_model_name_or_path` in {file})", name.on_hub()));
    };
    let base_path = path.display().to_string();
    let base_files = Files::find(&path)?;
    if base_files.adapter()?.is_some() {
        return fail(format!("its base model ({base_path}) is an adapter too: only one can be merged"));
    }
    let mut base = Opened::whole(&base_files)?;
    let (merged, class) = lora::merge(weights, config, &mut base.tensors, &base_path)?;
    let classes = merged.replaced.iter().filter(|name| name.ends_with(".weight") && lora::is_head(name));
    let classes = classes
        .filter_map(|name| base.tensors.shapes().find(|(other, _)| other == name)?.1.first().copied())
        .next_back();
    let own = files.config("")?;
    base.config = lora::configured(base.config, class, classes, own.as_ref());
    base.preprocessor = files.preprocessor()?.or(base.preprocessor);
    base.merged = Some(merged);
    Ok(base)
}
