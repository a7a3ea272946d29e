//! The text halves of checkpoints of images and texts.

use std::collections::BTreeSet;

use super::Family;
use super::matching::Recipes;
use super::names::Names;
use super::recipe::{Part, Recipe};
use super::tensors::Tensors;
use crate::error::{Error, Result};
use crate::model::{TextConfig, VitConfig, text_weight_specs};
use crate::text::Settings;

/// The text half of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTower {
    /// Its sizes and options.
    pub config: TextConfig,
    /// How texts become ids of tokens.
    pub tokens: Settings,
}

/// How the text half of a family is found.
pub struct TextFamily {
    /// The configuration; `None` if the file has no text half.
    pub configure: fn(&Names) -> Result<Option<TextTower>>,
    /// The parts of a canonical weight of the given shape, whose name is without [`crate::model::TEXT`].
    pub recipe: fn(&str, &[usize], &Names) -> Recipe,
    /// Whether a tensor belongs to the text half, and changes its results.
    pub owns: fn(&str) -> bool,
}

/// Finds the text half of a checkpoint, and adds the recipes of its weights to those of the image half. If it can't be run, the
/// reason: the image half runs without it.
pub fn find(
    text: Option<&TextFamily>,
    (family, names): (&Family, &Names),
    image: &VitConfig,
    tensors: &Tensors,
    recipes: &mut Recipes,
    ignored: &mut Vec<String>,
) -> std::result::Result<TextTower, String> {
    let none = || "it has no text half".to_owned();
    let text = text.ok_or_else(none)?;
    let tower = (text.configure)(names).map_err(|error| error.to_string())?.ok_or_else(none)?;
    let (found, used) = matched(text, &tower.config, family.name, names).map_err(|error| error.to_string())?;
    if let Some(unused) = names.iter().find(|name| (text.owns)(name) && !used.contains(*name)) {
        return Err(format!("tensor `{unused}` of its text half is not used"));
    }
    let (width, wanted) = (tower.config.embedding_dim(), image.pooled_dim());
    if width != wanted {
        return Err(format!("its texts become {width} values, and its images {wanted}"));
    }
    let parts = found.values().flat_map(|(_, parts)| parts).map(|part| part.tensor.as_str());
    tensors.readable(parts).map_err(|error| error.to_string())?;
    recipes.extend(found);
    ignored.retain(|name| !used.contains(name));
    Ok(tower)
}

/// The recipes of a text tower's weights, and the tensors that they use.
fn matched(
    text: &TextFamily,
    cfg: &TextConfig,
    family: &'static str,
    names: &Names,
) -> Result<(Recipes, BTreeSet<String>)> {
    cfg.validate(&names.file)?;
    let (mut recipes, mut used) = (Recipes::new(), BTreeSet::new());
    for spec in text_weight_specs(cfg)? {
        let name = spec.name.trim_start_matches(crate::model::TEXT);
        let mut parts = match name {
            // Some files have a number, others a vector of one.
            "logit_scale" | "logit_bias" => {
                let one = names.shape(name).filter(|shape| shape.iter().product::<usize>() == 1);
                vec![Part::new(name, one.unwrap_or(&[]))]
            }
            _ => (text.recipe)(name, &spec.shape, names),
        };
        for part in &mut parts {
            let (tensor, expected, file) = (part.tensor.clone(), part.shape.clone(), names.file.clone());
            match names.shape(&tensor) {
                None => return Err(Error::MissingTensor { tensor, expected, family, file }),
                Some(found) if found != expected => {
                    return Err(Error::WrongShape { tensor, expected, found: found.to_vec(), file });
                }
                Some(_) => {}
            }
            used.insert(tensor);
            part.tensor = names.original(&part.tensor);
        }
        recipes.insert(spec.name, (spec.shape, parts));
    }
    Ok((recipes, used))
}
