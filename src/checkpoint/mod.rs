//! From a file on disk to a configuration, canonical weights, preprocessing and labels.
//!
//! Each family of checkpoints is one file here; adding one is its file, its line in `FAMILIES`, its tests. A loader only
//! permutes, concatenates and reshapes, so values stay bit for bit; a position table alone may be resampled.

mod canonical;
mod convert;
mod files;
mod fit;
mod foreign;
mod header;
mod huggingface;
mod jax;
mod json;
mod keys;
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
mod teaching;
mod tensors;
mod timm;
mod torchvision;
mod transforms;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::model::{VitConfig, WeightLoader};
use crate::preprocess::Transform;
use files::Files;
use fit::fit;
use names::Names;
use positions::{Positions, Resample, ResampledLoader, SinCosLoader};
use recipe::{Recipe, RecipeLoader};

pub use convert::Storage;
pub use tensors::Tensors;

/// One family of checkpoints: how it is told apart and how its tensors become canonical ones.
struct Family {
    name: &'static str,
    /// Whether the tensor names are this family's.
    detect: fn(&Names) -> bool,
    /// Reads the configuration off names, shapes and `config.json`; the image size is the one the position table is for.
    configure: fn(&Names) -> Result<VitConfig>,
    /// The parts of a canonical weight of the given shape.
    recipe: fn(&str, &[usize], &VitConfig, &Names) -> Recipe,
    /// How its library resamples position tables.
    positions: fn(&Names) -> Positions,
    /// Whether an unused tensor is known to be of no account.
    ignorable: fn(&str, &VitConfig) -> bool,
    /// For families whose libraries write no configuration: the keys that one of the user's own may have besides [`keys::OWN`].
    own_keys: Option<&'static [&'static str]>,
    /// Preprocessing for the configuration's image size, where no file beside the weights gives it.
    transform: fn(&Names, &VitConfig) -> Result<Transform>,
}

/// In the order they are tried: whose names are also another's come first.
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
    &teaching::LUCIDRAINS,
    &teaching::PATCHLAYER,
    &teaching::ZUPPICHINI,
    &teaching::TORCH_ENCODER,
    &teaching::PER_HEAD,
];

/// A model as it was found: everything but a device to run it on.
#[derive(Clone)]
pub struct Checkpoint {
    /// What was opened, as it was named.
    pub name: String,
    /// Whose layout it is: `timm`, `huggingface-vit`, `torchvision`, …, or `random`.
    pub family: &'static str,
    /// Sizes and options of the model.
    pub config: VitConfig,
    /// How an image becomes the model's input.
    pub transform: Transform,
    /// Names of the classes, and which scores are shown for them.
    pub labels: Labels,
    /// Tensors of the file that the family ignores.
    pub ignored: Vec<String>,
    /// Storage types in the file.
    pub dtypes: Vec<String>,
    pub(crate) loader: Arc<dyn WeightLoader>,
    /// How its position table is resampled.
    positions: Positions,
    /// Whether its library runs tensors of any size.
    follows: bool,
}

/// The size a model is to run at.
#[derive(Clone, Copy)]
enum Size {
    /// The size that the files say.
    Own,
    /// A size that the user asks for: positions are resampled by the rule for loading.
    Asked((usize, usize)),
    /// The size of a tensor that is to be run: positions are resampled by the rule for running.
    Followed((usize, usize)),
}

impl Size {
    fn wanted(self) -> Option<(usize, usize)> {
        match self {
            Size::Own => None,
            Size::Asked(size) | Size::Followed(size) => Some(size),
        }
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("name", &self.name).field("family", &self.family).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a directory (weights, `config.json`, `preprocessor_config.json`), a `.safetensors` or `.npz` file (with the
    /// configuration beside it, if there is one) or `random:ARCH@SEED`. Values are read later, when a session needs them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Safetensors`] and [`Error::Config`] for unreadable files; [`Error::MissingTensor`],
    /// [`Error::WrongShape`] and [`Error::UnusedTensors`] where weights and configuration do not fit each other.
    pub fn open(model: &str) -> Result<Checkpoint> {
        Checkpoint::open_at(model, None)
    }

    /// As [`Checkpoint::open`], to run at another image size (height, width) than the model's own: the position table is
    /// resampled as its library would, and preprocessing follows.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; [`Error::Config`] for a size that has no patches.
    pub fn open_at(model: &str, image_size: Option<(usize, usize)>) -> Result<Checkpoint> {
        Checkpoint::open_sized(model, image_size.map_or(Size::Own, Size::Asked))
    }

    /// As [`Checkpoint::open`], to run tensors of a size (height, width): at that size where the model's library would run
    /// them, resampling positions on the way (transformers' `interpolate_pos_encoding`, DINOv2, timm's `dynamic_img_size`),
    /// else at the model's own.
    ///
    /// # Errors
    /// As [`Checkpoint::open_at`].
    pub fn open_for(model: &str, size: (usize, usize)) -> Result<Checkpoint> {
        let own = Checkpoint::open(model)?;
        if own.follows && own.config.img_size != size {
            return Checkpoint::open_sized(model, Size::Followed(size));
        }
        Ok(own)
    }

    fn open_sized(model: &str, size: Size) -> Result<Checkpoint> {
        let path = Path::new(model);
        if path.exists() {
            let files = Files::find(path)?;
            let tensors = files.tensors()?;
            let config = files.config(&tensors.name)?;
            return Checkpoint::from_tensors(model, tensors, config, files.preprocessor()?, size);
        }
        match model.strip_prefix("random:") {
            Some(spec) => Checkpoint::random(model, spec, size.wanted()),
            None => Err(Error::model(model, "no such file or folder")),
        }
    }

    /// The model that comes with the program: a small ViT that tells CIFAR-10's ten classes apart.
    ///
    /// # Errors
    /// None in a program that was built whole.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Checkpoint> {
        Checkpoint::bundled_at(None)
    }

    /// The same at another image size.
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

    /// Opens a model that is in memory: a `.safetensors` or `.npz` file's bytes, and the texts of its `config.json` (or
    /// `open_clip_config.json`) and `preprocessor_config.json`, where it has them. `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(
        name: &str,
        weights: Vec<u8>,
        config: Option<&str>,
        preprocessor: Option<&str>,
    ) -> Result<Checkpoint> {
        let json = |file: &str, text: &str| {
            let file = format!("{name} ({file})");
            json::object(&file, json::parse(&file, text.as_bytes())?)
        };
        let config = config.map(|text| json("config.json", text)).transpose()?;
        let file = "preprocessor_config.json";
        let preprocessor = preprocessor.map(|text| json(file, text).map(|json| (format!("{name} ({file})"), json)));
        let tensors = Tensors::from_bytes(name, weights)?;
        if let Some(sign) = files::adapted(&tensors) {
            return Err(Error::model(name, files::adapter(&Value::Null, &sign)));
        }
        Checkpoint::from_tensors(name, tensors, config, preprocessor.transpose()?, Size::Own)
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
            let reason =
                format!("its tensor names ({}, …) are of no known layout ({})", some.join(", "), known.join(", "));
            return Err(Error::model(&tensors.name, reason));
        };
        let names = &names;
        if let Some(reason) = teaching::contradicts(names, family) {
            return Err(names.config_error(reason));
        }
        // lucidrains' ViTs that average keep a class token of no rows.
        names.no_empty_tensors(|name| family.name == "lucidrains" && name == "cls_token")?;
        let mut cfg = (family.configure)(names)?;
        cfg.validate(&tensors.name)?;
        if let Some(more) = family.own_keys {
            names.own_config_agrees(&cfg, more)?;
        }
        let (recipes, ignored) = fit(family, &cfg, names)?;
        tensors.readable(recipes.values().flat_map(|(_, parts)| parts).map(|part| part.tensor.as_str()))?;
        let dtypes = tensors.dtypes();
        let file = tensors.name.clone();
        let mut loader: Arc<dyn WeightLoader> = Arc::new(RecipeLoader { tensors, recipes });

        // Images have three channels; a model of others is given tensors, and what its files say of images is not looked at.
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
        // Names of classes that a model does without are not read.
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
            loader,
            config: cfg,
            transform,
            ignored,
            follows: positions.dynamic,
            positions: if resampled { Positions::on_request(Resample::Never) } else { positions },
        })
    }

    /// Preprocessing alone, from the files beside the weights where they suffice.
    ///
    /// # Errors
    /// As [`Checkpoint::open_at`], for the files that had to be read.
    pub fn transform_only(model: &str, image_size: Option<(usize, usize)>) -> Result<Transform> {
        let path = Path::new(model);
        if path.exists() {
            let files = Files::find(path)?;
            let config = files.config(model)?;
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
        Checkpoint::open_at(model, image_size).map(|checkpoint| checkpoint.transform)
    }
}
