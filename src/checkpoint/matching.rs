//! Finds the tensors that every canonical weight is made of, and makes sure that no tensor of the file is left over.

use std::collections::{BTreeSet, HashMap};

use super::Family;
use super::names::Names;
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::model::{VitConfig, weight_specs};

/// A canonical weight's shape and its parts in the file.
pub type Recipes = HashMap<String, (Vec<usize>, Recipe)>;

/// Finds the tensors of every canonical weight. A missing tensor, a wrong shape and a tensor that is not used are errors.
pub fn match_tensors(family: &Family, cfg: &VitConfig, names: &Names) -> Result<(Recipes, Vec<String>)> {
    let mut used = BTreeSet::new();
    let mut recipes = HashMap::new();
    // Sizes are read from tensors, so one wrong tensor can make others look wrong. The error names the most likely cause: a tensor with
    // the wrong number of axes first, then one that is missing.
    let mut worst: Option<(u8, Error)> = None;
    for spec in weight_specs(cfg)? {
        let mut parts = (family.recipe)(&spec.name, &spec.shape, cfg, names);
        for part in &mut parts {
            let (tensor, expected, file) = (part.tensor.clone(), part.shape.clone(), names.file.clone());
            let found = match names.shape(&tensor) {
                None => Some((1, Error::MissingTensor { tensor, expected, family: family.name, file })),
                Some(found) if found != expected => {
                    let rank = if found.len() == expected.len() { 0 } else { 2 };
                    Some((rank, Error::WrongShape { tensor, expected, found: found.to_vec(), file }))
                }
                Some(_) => None,
            };
            if let Some(found) = found.filter(|(rank, _)| worst.as_ref().is_none_or(|(worst, _)| rank > worst)) {
                worst = Some(found);
            }
            used.insert(part.tensor.clone());
            part.tensor = names.original(&part.tensor);
        }
        recipes.insert(spec.name, (spec.shape, parts));
    }
    if let Some((_, error)) = worst {
        return Err(error);
    }
    let (ignored, unused): (Vec<_>, Vec<_>) = names
        .iter()
        // vit-pytorch's models that pool the mean have an empty class token (no rows).
        .filter(|name| !used.contains(*name) && names.shape(name).is_none_or(|shape| !shape.contains(&0)))
        .map(str::to_owned)
        .partition(|name| (family.ignorable)(name, cfg));
    if unused.is_empty() {
        Ok((recipes, ignored))
    } else {
        Err(Error::UnusedTensors { tensors: unused, file: names.file.clone() })
    }
}
