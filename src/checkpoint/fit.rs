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
    // One wrong tensor can make others look wrong, whose sizes were read off it. The likeliest culprit is told: one with
    // too many or too few axes, then one that is not there.
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
        // lucidrains' ViTs that average keep a class token of no rows.
        .filter(|name| !used.contains(*name) && names.shape(name).is_none_or(|shape| !shape.contains(&0)))
        .map(str::to_owned)
        .partition(|name| (family.ignorable)(name, cfg));
    if unused.is_empty() {
        Ok((recipes, ignored))
    } else {
        Err(Error::UnusedTensors { tensors: unused, file: names.file.clone() })
    }
}
