//! Every canonical weight finds its parts, every tensor of the file its use.

use std::collections::{BTreeSet, HashMap};

use super::Family;
use super::names::Names;
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::model::{VitConfig, weight_specs};

/// A canonical weight's shape and its parts in the file.
pub type Recipes = HashMap<String, (Vec<usize>, Recipe)>;

/// Finds every part of every canonical weight, and accounts for every tensor of the file.
pub fn fit(family: &Family, cfg: &VitConfig, names: &Names) -> Result<(Recipes, Vec<String>)> {
    let mut used = BTreeSet::new();
    let mut recipes = HashMap::new();
    for spec in weight_specs(cfg)? {
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
