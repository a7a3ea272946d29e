//! Opens the files of a model: reads its configuration, weights (under timm's names), preprocessing and labels.
//!
//! Each family of checkpoints has one file here. To add a family, add its file, its line in `FAMILIES`, and tests. A loader only
//! permutes, concatenates and reshapes tensors, so their values don't change. Only position tables may be resampled.

mod canonical;
mod convert;
mod files;
#[cfg(any(feature = "insight", feature = "index"))]
mod fingerprint;
mod foreign;
mod from_scratch;
mod header;
mod huggingface;
mod jax;
mod json;
mod keys;
mod lora;
mod matching;
mod memory;
mod meta;
mod names;
#[cfg(feature = "npz")]
mod npy;
#[cfg(feature = "npz")]
mod npz;
mod open_clip;
mod positions;
mod random;
mod recipe;
mod reconcile;
mod safetensors;
mod scores;
mod size;
mod source;
mod tensors;
mod text;
mod timm;
mod torchvision;
mod transforms;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::model::{VitConfig, WeightLoader};
use crate::preprocess::Transform;
use files::Files;
use matching::match_tensors;
use names::Names;
use positions::{Positions, Resample, ResampledLoader, SinCosLoader};
use recipe::{Recipe, RecipeLoader};
use size::Size;
use source::Opened;

pub use convert::Storage;
pub use lora::Merged;
pub use source::Place;
pub use tensors::Tensors;
pub use text::TextTower;

/// One family of checkpoints: how it is recognised, and how its tensors become canonical weights.
struct Family {
    name: &'static str,
    /// Whether the tensor names are this family's.
    detect: fn(&Names) -> bool,
    /// Finds the configuration from names, shapes and `config.json`. Its image size is the one that the position table was made for.
    configure: fn(&Names) -> Result<VitConfig>,
    /// The parts of a canonical weight of the given shape.
    recipe: fn(&str, &[usize], &VitConfig, &Names) -> Recipe,
    /// How its library resamples position tables.
    positions: fn(&Names) -> Positions,
    /// Whether an unused tensor is known not to change any result.
    ignorable: fn(&str, &VitConfig) -> bool,
    /// For families whose library writes no configuration: keys that a `config.json` written by the user may have besides [`keys::OWN`].
    own_keys: Option<&'static [&'static str]>,
    /// Preprocessing for the configuration's image size, used if no file beside the weights describes it.
    transform: fn(&Names, &VitConfig) -> Result<Transform>,
}

/// The families in the order in which they are tried. A family whose names also fit another comes before that one.
static FAMILIES: [&Family; 14] = [
    &canonical::FAMILY,
    &meta::FAMILY,
    &timm::FAMILY,
    &huggingface::VIT,
    &huggingface::DINOV2,
    &huggingface::CLIP,
    &torchvision::FAMILY,
    &open_clip::FAMILY,
    &jax::FAMILY,
    &from_scratch::LUCIDRAINS,
    &from_scratch::PATCHLAYER,
    &from_scratch::ZUPPICHINI,
    &from_scratch::TORCH_ENCODER,
    &from_scratch::PER_HEAD,
];

/// A model from files: its configuration, weights, preprocessing and labels. [`crate::Session`] runs it on a device.
#[derive(Clone)]
pub struct Checkpoint {
    /// The name under which the model was opened: a path, or `random:…`.
    pub name: String,
    /// The layout of its files: `timm`, `huggingface-vit`, `torchvision`, …, or `random`.
    pub family: &'static str,
    /// Sizes and options of the model.
    pub config: VitConfig,
    /// How an image becomes the model's input.
    pub transform: Transform,
    /// Names of the classes, and how scores are computed.
    pub labels: Labels,
    /// Names of the tensors in the file that are not used and change no result.
    pub ignored: Vec<String>,
    /// Number types of the tensors in the file, such as `F16`.
    pub dtypes: Vec<String>,
    /// The text half of a model of images and texts, or why there is none that can be run.
    pub text: std::result::Result<TextTower, String>,
    /// Where the files beside the weights are; `None` for a model in memory.
    pub folder: Option<PathBuf>,
    /// The adapter that was merged into it, if it is one with its base model.
    pub merged: Option<Merged>,
    pub(crate) loader: Arc<dyn WeightLoader>,
    /// How its position table is resampled.
    positions: Positions,
    /// Whether the model's library runs inputs of any size.
    follows: bool,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("name", &self.name).field("family", &self.family).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a directory (weights, `config.json`, `preprocessor_config.json`), a `.safetensors` or `.npz` file (with the
    /// configuration beside it, if there is one), an adapter that is merged into its base model, or `random:ARCH@SEED`. Values are read later, when a session needs them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Safetensors`] and [`Error::Config`] for unreadable files; [`Error::MissingTensor`],
    /// [`Error::WrongShape`] and [`Error::UnusedTensors`] where weights and configuration do not fit each other.
    pub fn open(model: impl Into<Place>) -> Result<Checkpoint> {
        Checkpoint::open_at(model, None)
    }

    /// As [`Checkpoint::open`], to run at another image size (height, width) than the model's own: the position table is
    /// resampled as its library would, and preprocessing follows.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; [`Error::Config`] for a size that has no patches.
    pub fn open_at(model: impl Into<Place>, image_size: Option<(usize, usize)>) -> Result<Checkpoint> {
        Checkpoint::open_sized(model, image_size.map_or(Size::Own, Size::Asked))
    }

    /// Like [`Checkpoint::open`], for inputs of a given size (height, width). The model gets that size if its library would run
    /// such inputs by resampling positions (transformers' `interpolate_pos_encoding`, DINOv2, timm's `dynamic_img_size`);
    /// otherwise it keeps its own size.
    ///
    /// # Errors
    /// As [`Checkpoint::open_at`].
    pub fn open_for(model: impl Into<Place>, size: (usize, usize)) -> Result<Checkpoint> {
        let model = model.into();
        let own = Checkpoint::open(&model)?;
        if own.follows && own.config.img_size != size {
            return Checkpoint::open_sized(model, Size::Followed(size));
        }
        Ok(own)
    }

    fn open_sized(model: impl Into<Place>, size: Size) -> Result<Checkpoint> {
        let place = model.into();
        let (name, path) = (place.path.as_str(), Path::new(&place.path));
        if path.exists() {
            let opened = Opened::open(&place)?;
            let (merged, folder) = (opened.merged, Some(opened.folder));
            let model = Checkpoint::from_tensors(name, opened.tensors, opened.config, opened.preprocessor, size)?;
            return Ok(Checkpoint { merged, folder, ..model });
        }
        match name.strip_prefix("random:") {
            Some(spec) => Checkpoint::random(name, spec, size.wanted()),
            None => Err(Error::io(path)(std::io::Error::new(std::io::ErrorKind::NotFound, "no such file or folder"))),
        }
    }

    /// The model that is built into the crate: a small ViT for CIFAR-10's ten classes.
    ///
    /// # Errors
    /// None, unless the program was built with damaged files.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Checkpoint> {
        Checkpoint::bundled_at(None)
    }

    /// The built-in model at another image size (height, width).
    ///
    /// # Errors
    /// [`Error::Config`] for a size that has no patches.
    #[cfg(feature = "bundled")]
    pub fn bundled_at(image_size: Option<(usize, usize)>) -> Result<Checkpoint> {
        let name = "vit-nano-cifar10";
        let weights = include_bytes!("../../assets/vit-nano-cifar10/model.safetensors");
        let config = include_str!("../../assets/vit-nano-cifar10/config.json");
        let config = serde_json::from_str(config).map_err(|error| Error::config_by(name, error))?;
        let size = image_size.map_or(Size::Own, Size::Asked);
        Checkpoint::from_tensors(name, Tensors::from_static(name, weights)?, Some(config), None, size)
    }

    fn random(name: &str, spec: &str, image_size: Option<(usize, usize)>) -> Result<Checkpoint> {
        let (mut config, seed) = random::parse(spec)?;
        config.img_size = image_size.unwrap_or(config.img_size);
        config.validate(name)?;
        let transform =
            transforms::timm(&Value::Null, config.img_size).map_err(|reason| Error::config(name, reason))?;
        Ok(Checkpoint {
            name: name.to_owned(),
            family: "random",
            labels: Labels::none(config.num_classes),
            loader: Arc::new(random::RandomLoader::new(&config, seed)?),
            config,
            transform,
            ignored: Vec::new(),
            dtypes: vec!["F32".to_owned()],
            text: Err("it has no text half".to_owned()),
            folder: None,
            merged: None,
            positions: Positions::on_request(Resample::BicubicAntialias),
            follows: false,
        })
    }

    fn from_tensors(
        name: &str,
        tensors: Tensors,
        config: Option<Value>,
        preprocessor: Option<(String, Value)>,
        size: Size,
    ) -> Result<Checkpoint> {
        let image_size = size.wanted();
        let family_of = |names: &Names| FAMILIES.iter().find(|family| (family.detect)(names));
        let found =
            Names::candidates(&tensors, config).find_map(|names| family_of(&names).map(|family| (names, family)));
        let Some((names, family)) = found else {
            let some: Vec<_> = tensors.shapes().map(|(name, _)| name).take(3).collect();
            let known: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
            let reason = format!(
                "its tensor names ({}, …) don't belong to a known layout ({})",
                some.join(", "),
                known.join(", ")
            );
            return Err(Error::model(&tensors.name, reason));
        };
        let names = &names;
        if let Some(reason) = from_scratch::contradicts(names, family) {
            return Err(names.config_error(reason));
        }
        // vit-pytorch's models that pool the mean have an empty class token (no rows).
        names.no_empty_tensors(|name| family.name == "lucidrains" && name == "cls_token")?;
        let mut cfg = (family.configure)(names)?;
        cfg.validate(&tensors.name)?;
        if let Some(more) = family.own_keys {
            names.own_config_agrees(&cfg, more)?;
        }
        let (mut recipes, mut ignored) = match_tensors(family, &cfg, names)?;
        let texts = match family.name {
            "huggingface-clip" => Some(&huggingface::TEXT),
            "open_clip" => Some(&open_clip::TEXT),
            _ => None,
        };
        let text = text::find(texts, (family, names), &cfg, &tensors, &mut recipes, &mut ignored);
        tensors.readable(recipes.values().flat_map(|(_, parts)| parts).map(|part| part.tensor.as_str()))?;
        let dtypes = tensors.dtypes();
        let file = tensors.name.clone();
        let mut loader: Arc<dyn WeightLoader> = Arc::new(RecipeLoader { tensors, recipes });

        // Images have three channels. A model with another number can only be given tensors, so what its files say about images is not read.
        let colour = cfg.in_chans == 3;
        let given = preprocessor
            .filter(|_| colour)
            .map(|(file, json)| {
                let version = names.text_field("transformers_version");
                huggingface::processor(&json, version, image_size).map_err(|reason| Error::config(file, reason))
            })
            .transpose()?;
        let mut positions = (family.positions)(names);
        if let (Size::Followed(_), Some(rule)) = (size, positions.running) {
            positions.rule = rule;
        }
        let own_grid = cfg.grid();
        let own_size = cfg.img_size;
        let followed = given.as_ref().filter(|_| positions.always).and_then(Transform::output_size);
        cfg.img_size = image_size.or(positions.image_size).or(followed).unwrap_or(cfg.img_size);
        cfg.validate(&file)?;
        let mut resampled = false;
        if positions.rule == Resample::SinCos {
            loader = Arc::new(SinCosLoader { inner: loader, grid: cfg.grid(), width: cfg.embed_dim });
        } else if let Some(from) =
            positions.resampled_from(&cfg, own_size, own_grid).map_err(|reason| names.error(reason))?
        {
            let (prefix, width, to) = (cfg.pos_prefix, cfg.embed_dim, cfg.grid());
            resampled = true;
            loader = Arc::new(ResampledLoader { inner: loader, prefix, width, from, to, rule: positions.rule });
        }
        let transform = match given {
            Some(transform) => transform,
            None if !colour => transforms::big_vision(cfg.img_size),
            None => (family.transform)(names, &cfg)?,
        };
        let transform = transform.checked().map_err(|reason| Error::model(&file, reason))?;
        if let Some(size) = transform.output_size().filter(|size| *size != cfg.img_size) {
            return Err(Error::ImageSize { file, preprocessed: size, model: cfg.img_size });
        }
        // If the model has no classes, names in the configuration are not read.
        let labels = match cfg.num_classes {
            0 => Labels::none(0),
            classes => {
                Labels::from_config(names.config.as_ref(), classes).map_err(|reason| names.config_error(reason))?
            }
        };
        Ok(Checkpoint {
            name: name.to_owned(),
            family: family.name,
            labels: labels.scored(scores::read(names, family.name, cfg.num_classes)?),
            dtypes,
            merged: None,
            loader,
            config: cfg,
            transform,
            ignored,
            text,
            folder: None,
            follows: positions.dynamic,
            positions: if resampled { Positions::on_request(Resample::Never) } else { positions },
        })
    }

    /// Only the preprocessing. The weights are not read if the files beside them are enough.
    ///
    /// # Errors
    /// As [`Checkpoint::open_at`], for the files that had to be read.
    pub fn transform_only(model: impl Into<Place>, image_size: Option<(usize, usize)>) -> Result<Transform> {
        let place = model.into();
        let path = Path::new(&place.path);
        let files = if path.exists() { Some(Files::find(path)?) } else { None };
        // What an adapter lacks is its base model's.
        if let Some(files) = files.filter(|files| files.adapter().is_ok_and(|adapter| adapter.is_none())) {
            let config = files.config(&place.path)?;
            if let Some((file, json)) = files.preprocessor()? {
                let version = config.as_ref().and_then(|config| config.get("transformers_version")?.as_str());
                return huggingface::processor(&json, version, image_size)
                    .and_then(Transform::checked)
                    .map_err(|reason| Error::config(file, reason));
            }
            if let Some(config) = config {
                let pretrained = config.get("pretrained_cfg").unwrap_or(&config);
                let size = image_size.or_else(|| names::input_size(pretrained));
                if let Some(size) = size.filter(|_| config.get("architecture").is_some()) {
                    let file = files.folder.join("config.json").display().to_string();
                    return transforms::timm(pretrained, size)
                        .and_then(Transform::checked)
                        .map_err(|reason| Error::config(file, reason));
                }
            }
        }
        Checkpoint::open_at(&place, image_size).map(|checkpoint| checkpoint.transform)
    }
}
