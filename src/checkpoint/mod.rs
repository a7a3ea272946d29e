//! From a file on disk to a configuration, canonical weights, preprocessing and labels.
//!
//! Each family of checkpoints is one file here; adding one is its file, its line in `FAMILIES`, its tests. A loader only
//! permutes, concatenates and reshapes, so values stay bit for bit.

mod huggingface;
mod names;
mod random;
mod recipe;
mod safetensors;
mod timm;
mod torchvision;
mod transforms;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::model::{VitConfig, WeightLoader, weight_specs};
use crate::preprocess::Transform;
use names::Names;
use recipe::{Recipe, RecipeLoader};

pub use safetensors::Tensors;

/// One family of checkpoints: how it is told apart and how its tensors become canonical ones.
struct Family {
    name: &'static str,
    /// Whether the tensor names are this family's.
    detect: fn(&Names) -> bool,
    /// Reads the configuration off names, shapes and `config.json`.
    configure: fn(&Names) -> Result<VitConfig>,
    /// The parts of a canonical weight of the given shape.
    recipe: fn(&str, &[usize], &VitConfig, &Names) -> Recipe,
    /// Whether an unused tensor is known to be of no account.
    ignorable: fn(&str, &VitConfig) -> bool,
    /// Preprocessing where no file beside the weights gives it.
    transform: fn(&Names, &VitConfig) -> Result<Transform>,
}

static FAMILIES: [&Family; 3] = [&timm::FAMILY, &huggingface::FAMILY, &torchvision::FAMILY];

/// A model as it was found: everything but a device to run it on.
#[derive(Clone)]
pub struct Checkpoint {
    /// What was opened, as it was named.
    pub name: String,
    /// `timm`, `huggingface`, `torchvision` or `random`.
    pub family: &'static str,
    /// The model.
    pub config: VitConfig,
    /// Its preprocessing.
    pub transform: Transform,
    /// Its classes.
    pub labels: Labels,
    /// Tensors of the file that the family ignores.
    pub ignored: Vec<String>,
    /// Storage types in the file.
    pub dtypes: Vec<String>,
    pub(crate) loader: Arc<dyn WeightLoader>,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("name", &self.name).field("family", &self.family).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a directory (weights, `config.json`, `preprocessor_config.json`), a `.safetensors` file (with the
    /// configuration beside it, if there is one) or `random:ARCH@SEED`. Values are read later, when a session needs them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Safetensors`] and [`Error::Config`] for unreadable files; [`Error::MissingTensor`],
    /// [`Error::WrongShape`] and [`Error::UnusedTensors`] where weights and configuration do not fit each other.
    pub fn open(model: &str) -> Result<Checkpoint> {
        let path = Path::new(model);
        if path.exists() {
            let files = Files::find(path)?;
            return Checkpoint::from_tensors(model, files.tensors()?, files.config()?, files.preprocessor()?);
        }
        match model.strip_prefix("random:") {
            Some(spec) => Checkpoint::random(model, spec),
            None => Err(Error::model(model, "no such file or folder")),
        }
    }

    /// The model that comes with the program: a small ViT that tells CIFAR-10's ten classes apart.
    ///
    /// # Errors
    /// None in a program that was built whole.
    pub fn bundled() -> Result<Checkpoint> {
        let name = "vit-nano-cifar10";
        let weights = include_bytes!("../../assets/vit-nano-cifar10/model.safetensors");
        let config = include_str!("../../assets/vit-nano-cifar10/config.json");
        let config = serde_json::from_str(config).map_err(|error| Error::config(name, error))?;
        Checkpoint::from_tensors(name, Tensors::from_static(name, weights)?, Some(config), None)
    }

    fn random(name: &str, spec: &str) -> Result<Checkpoint> {
        let (config, seed) = random::parse(spec)?;
        config.validate(name)?;
        let transform =
            transforms::timm(&Value::Null, config.img_size).map_err(|reason| Error::config(name, reason))?;
        Ok(Checkpoint {
            name: name.to_owned(),
            family: "random",
            labels: Labels::none(config.num_classes),
            loader: Arc::new(random::RandomLoader::new(&config, seed)),
            config,
            transform,
            ignored: Vec::new(),
            dtypes: vec!["F32".to_owned()],
        })
    }

    fn from_tensors(
        name: &str,
        tensors: Tensors,
        config: Option<Value>,
        preprocessor: Option<(String, Value)>,
    ) -> Result<Checkpoint> {
        let names = Names::new(&tensors, config);
        let Some(family) = FAMILIES.iter().find(|family| (family.detect)(&names)) else {
            let some: Vec<_> = names.iter().take(3).collect();
            let known: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
            let reason =
                format!("its tensor names ({}, …) are of no known layout ({})", some.join(", "), known.join(", "));
            return Err(Error::model(&tensors.name, reason));
        };
        let cfg = (family.configure)(&names)?;
        cfg.validate(&tensors.name)?;
        let (recipes, ignored) = fit(family, &cfg, &names)?;
        let transform = match preprocessor {
            Some((file, json)) => transforms::hugging_face(&json).map_err(|reason| Error::config(file, reason))?,
            None => (family.transform)(&names, &cfg)?,
        };
        if let Some((h, w)) = transform.output_size().filter(|size| *size != cfg.img_size) {
            let (mh, mw) = cfg.img_size;
            let reason = format!("preprocessing gives images of {h}x{w}, the model takes {mh}x{mw}");
            return Err(Error::model(&tensors.name, reason));
        }
        Ok(Checkpoint {
            name: name.to_owned(),
            family: family.name,
            labels: Labels::from_config(names.config.as_ref(), cfg.num_classes)
                .map_err(|reason| names.config_error(reason))?,
            dtypes: tensors.dtypes(),
            loader: Arc::new(RecipeLoader { tensors, recipes }),
            config: cfg,
            transform,
            ignored,
        })
    }

    /// Preprocessing alone, from the files beside the weights where they suffice.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], for the files that had to be read.
    pub fn transform_only(model: &str) -> Result<Transform> {
        let path = Path::new(model);
        if path.exists() {
            let files = Files::find(path)?;
            if let Some((file, json)) = files.preprocessor()? {
                return transforms::hugging_face(&json).map_err(|reason| Error::config(file, reason));
            }
            if let Some(config) = files.config()? {
                let pretrained = config.get("pretrained_cfg").unwrap_or(&config);
                let size = pretrained
                    .get("input_size")
                    .and_then(|size| size.as_array())
                    .and_then(|size| Some((names::size(size.get(1)?)?, names::size(size.get(2)?)?)));
                if let Some(size) = size {
                    let file = files.folder.join("config.json").display().to_string();
                    return transforms::timm(pretrained, size).map_err(|reason| Error::config(file, reason));
                }
            }
        }
        Checkpoint::open(model).map(|checkpoint| checkpoint.transform)
    }
}

/// A canonical weight's shape and its parts in the file.
type Recipes = HashMap<String, (Vec<usize>, Recipe)>;

/// Finds every part of every canonical weight, and accounts for every tensor of the file.
fn fit(family: &Family, cfg: &VitConfig, names: &Names) -> Result<(Recipes, Vec<String>)> {
    let mut used = BTreeSet::new();
    let mut recipes = HashMap::new();
    for spec in weight_specs(cfg) {
        let mut parts = (family.recipe)(&spec.name, &spec.shape, cfg, names);
        for part in &mut parts {
            match names.shape(&part.tensor) {
                None => {
                    return Err(Error::MissingTensor {
                        tensor: part.tensor.clone(),
                        expected: part.shape.clone(),
                        family: family.name,
                        file: names.file.clone(),
                    });
                }
                Some(found) if found != part.shape => {
                    return Err(Error::WrongShape {
                        tensor: part.tensor.clone(),
                        expected: part.shape.clone(),
                        found: found.to_vec(),
                        file: names.file.clone(),
                    });
                }
                Some(_) => used.insert(part.tensor.clone()),
            };
            part.tensor = names.original(&part.tensor);
        }
        recipes.insert(spec.name, (spec.shape, parts));
    }
    let (ignored, unused): (Vec<_>, Vec<_>) = names
        .iter()
        .filter(|name| !used.contains(*name))
        .map(str::to_owned)
        .partition(|name| (family.ignorable)(name, cfg));
    if unused.is_empty() {
        Ok((recipes, ignored))
    } else {
        Err(Error::UnusedTensors { tensors: unused, file: names.file.clone() })
    }
}

/// The files of a model on disk.
struct Files {
    folder: PathBuf,
    /// A weights file that was named; `None` where the folder was.
    weights: Option<PathBuf>,
}

impl Files {
    fn find(path: &Path) -> Result<Files> {
        if path.is_dir() {
            return Ok(Files { folder: path.to_path_buf(), weights: None });
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Files { folder, weights: Some(path.to_path_buf()) })
    }

    fn tensors(&self) -> Result<Tensors> {
        if let Some(file) = &self.weights {
            return if file.to_string_lossy().ends_with(".index.json") {
                Tensors::open_index(file)
            } else {
                Tensors::open(file)
            };
        }
        let single = self.folder.join("model.safetensors");
        if single.is_file() {
            return Tensors::open(&single);
        }
        let index = self.folder.join("model.safetensors.index.json");
        if index.is_file() {
            return Tensors::open_index(&index);
        }
        let entries = std::fs::read_dir(&self.folder).map_err(Error::io(&self.folder))?;
        let files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        let ends = |ending: &str| {
            let mut found: Vec<_> =
                files.iter().filter(|file| file.to_string_lossy().ends_with(ending)).cloned().collect();
            found.sort();
            found
        };
        let pickled = ["bin", "pt", "pth", "npz"].iter().flat_map(|ending| ends(&format!(".{ending}"))).next();
        match (&ends(".safetensors")[..], pickled) {
            ([only], _) => Tensors::open(only),
            ([], Some(pickle)) => {
                let reason = format!("only `{}` is there: weights are read as safetensors", pickle.display());
                Err(Error::model(self.folder.display().to_string(), reason))
            }
            ([], None) => Err(Error::model(self.folder.display().to_string(), "the folder has no .safetensors file")),
            (several, _) => {
                let reason = format!("the folder has {} .safetensors files: name one of them", several.len());
                Err(Error::model(self.folder.display().to_string(), reason))
            }
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

    fn config(&self) -> Result<Option<Value>> {
        Ok(self.json("config.json")?.map(|(_, json)| json))
    }

    /// `processor_config.json` where it holds an image processor, else `preprocessor_config.json`.
    fn preprocessor(&self) -> Result<Option<(String, Value)>> {
        let processor = self.json("processor_config.json")?.filter(|(_, json)| json.get("image_processor").is_some());
        match processor {
            Some(found) => Ok(Some(found)),
            None => self.json("preprocessor_config.json"),
        }
    }
}
