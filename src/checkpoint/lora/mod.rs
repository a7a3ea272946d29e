//! LoRA adapters in PEFT's format: small files that change the weights of a base model, which they name. The two are merged when
//! weights are read, so that what runs is what PEFT's `merge_and_unload` gives.

mod config;
mod head;
mod layout;
mod merge;
mod targets;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::tensors::Tensors;
use crate::error::{Error, Result};
pub use config::BaseName;
use config::LoraConfig;
pub use head::{configured, is_head};
use layout::{Layout, Prefix};
use merge::{LowRank, Scaled};

/// What PEFT puts in front of the names of the base model.
const WRAPPER: &str = "base_model.model.";

/// What was merged into a base model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The base model's file or folder.
    pub base: String,
    /// The smallest and the largest rank.
    pub ranks: (usize, usize),
    /// How many layers have low-rank parts.
    pub layers: usize,
    /// Whether they have magnitudes (DoRA).
    pub dora: bool,
    /// Names of the base model's tensors that the adapter stores whole.
    pub replaced: Vec<String>,
}

/// Tensors of an adapter that belong to one layer of low rank, or that replace one of the base's.
enum Part<'a> {
    A(&'a str),
    B(&'a str),
    Bias(&'a str),
    Magnitude(&'a str),
    /// The name that the base model has for it.
    Whole(String),
    /// PEFT's copy of what another tensor replaces.
    Unused,
}

fn part(name: &str) -> Option<Part<'_>> {
    let own = name.strip_prefix(WRAPPER)?;
    if let Some((module, which)) = own.split_once(".lora_") {
        return match which {
            "A.weight" => Some(Part::A(module)),
            "B.weight" => Some(Part::B(module)),
            "B.bias" => Some(Part::Bias(module)),
            "magnitude_vector" | "magnitude_vector.weight" => Some(Part::Magnitude(module)),
            _ => None,
        };
    }
    if own.contains(".original_module.") {
        return Some(Part::Unused);
    }
    Some(Part::Whole(own.replace(".base_layer.", ".").replace(".modules_to_save.", ".")))
}

/// Whether an adapter can be merged, as far as its configuration tells.
///
/// # Errors
/// As [`merge`].
pub fn check((file, json): (&str, &Value)) -> Result<()> {
    LoraConfig::read(file, json).map(|_| ())
}

/// Merges an adapter into its base model's tensors; which of them it replaces or adds is in the report.
///
/// # Errors
/// [`Error::Config`] for a configuration that can't be merged; [`Error::Model`] and [`Error::WrongShape`] for tensors that fit
/// neither it nor the base model.
pub fn merge(
    weights: &Path,
    config: (&str, &Value),
    base: &mut Tensors,
    base_path: &str,
) -> Result<(Merged, Option<String>)> {
    let (file, json) = config;
    let config = LoraConfig::read(file, json)?;
    let adapter = Arc::new(Tensors::open(weights)?);
    let fail = |reason: String| Error::model(&adapter.name, reason);
    let of = |name: &str| fail(format!("tensor `{name}` is of a kind that can't be merged"));
    adapter.readable(adapter.shapes().map(|(name, _)| name))?;
    let mut parts = Vec::new();
    for (name, _) in adapter.shapes() {
        parts.push((name, part(name).ok_or_else(|| of(name))?));
    }
    let modules: BTreeSet<&str> =
        parts.iter().filter_map(|(_, part)| if let Part::A(module) = part { Some(*module) } else { None }).collect();
    let plain: BTreeSet<String> = modules.iter().map(|module| module.replace(".base_layer.", ".")).collect();
    let whole: Vec<(&str, &str)> = parts
        .iter()
        .filter_map(|(name, part)| if let Part::Whole(own) = part { Some((*name, own.as_str())) } else { None })
        .collect();
    if modules.is_empty() && whole.is_empty() {
        return Err(fail("the adapter has no tensors".to_owned()));
    }
    let vision = config.class.as_deref().and_then(|class| match (class.contains("Vision"), class.contains("Text")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    });
    let layout = Layout::find(base, &plain.iter().map(String::as_str).collect(), vision)
        .map_err(|reason| fail(format!("the adapter changes {reason} ({base_path})")))?;
    let tower = "vision_model.";
    let alone = config.class.as_deref().is_some_and(|class| class.ends_with("VisionModel"));
    let alone = alone && layout.prefix == Prefix::Same && plain.iter().all(|module| module.starts_with(tower));
    if let Some(start) =
        if let Prefix::Has(start) = &layout.prefix { Some(start.as_str()) } else { alone.then_some(tower) }
    {
        // The model that the adapter was made for is this part of the base.
        base.retain(|name| name.starts_with(start));
    }
    let mut replaced = Vec::new();
    for (name, own) in whole {
        // PEFT may store one tensor twice, once with the name of its wrapper.
        if name.contains(".modules_to_save.") && adapter.shapes().any(|(other, _)| other == format!("{WRAPPER}{own}")) {
            continue;
        }
        replaced.push(replace(&config, &adapter, base, &layout, name, own)?);
    }
    let mut ranks = Vec::new();
    for module in &modules {
        ranks.push(add(&config, &adapter, base, &layout, module)?);
    }
    for (name, part) in &parts {
        if let Part::B(module) | Part::Bias(module) | Part::Magnitude(module) = part
            && !modules.contains(module)
        {
            return Err(fail(format!("tensor `{name}` is there, but `{WRAPPER}{module}.lora_A.weight` is missing")));
        }
    }
    if let Some(lost) = lost(&config, &plain, &layout) {
        return Err(fail(format!(
            "layer `{lost}` is among the `target_modules`, but tensor `{WRAPPER}{lost}.lora_A.weight` is missing"
        )));
    }
    let ranks = (ranks.iter().min().copied().unwrap_or(0), ranks.iter().max().copied().unwrap_or(0));
    let class = config.class.filter(|_| layout.prefix != Prefix::Same || alone || !replaced.is_empty());
    let whole_model = matches!(layout.prefix, Prefix::Has(_)) && class.is_none();
    let merged = Merged { base: base_path.to_owned(), ranks, layers: modules.len(), dora: config.dora, replaced };
    Ok((merged, if whole_model { Some(String::new()) } else { class }))
}

/// Puts a tensor that is stored whole in place of the base model's; the name it has there.
fn replace(
    config: &LoraConfig,
    adapter: &Tensors,
    base: &mut Tensors,
    layout: &Layout,
    name: &str,
    own: &str,
) -> Result<String> {
    let module = own.rsplit_once('.').map_or(own, |(module, _)| module);
    let saved = config.targets.saves(module);
    let bias = config.stores_biases && own.ends_with(".bias");
    if !saved && !bias {
        let reason = format!("tensor `{name}` is in none of the `modules_to_save`, so PEFT would not use it");
        return Err(Error::model(&adapter.name, reason));
    }
    let there = layout.tensor(own).map(str::to_owned);
    let shape = |tensors: &Tensors, name: &str| {
        tensors.shapes().find(|(other, _)| *other == name).map(|(_, shape)| shape.to_vec()).unwrap_or_default()
    };
    match &there {
        // A head may have another number of classes.
        Some(base_name) if !head::is_head(own) && shape(base, base_name) != shape(adapter, name) => {
            let (expected, found) = (shape(base, base_name), shape(adapter, name));
            return Err(Error::WrongShape { tensor: name.to_owned(), expected, found, file: adapter.name.clone() });
        }
        None if !saved => {
            let reason = format!("tensor `{name}` is a bias that the base model does not have");
            return Err(Error::model(&adapter.name, reason));
        }
        _ => {}
    }
    let target = there.unwrap_or_else(|| layout.new_name(own));
    base.replace(&target, adapter, name);
    Ok(target)
}

/// Adds the low-rank parts of a layer to its weight; their rank.
fn add(
    config: &LoraConfig,
    adapter: &Arc<Tensors>,
    base: &mut Tensors,
    layout: &Layout,
    module: &str,
) -> Result<usize> {
    // PEFT's wrapper of an attention with one weight for q, k and v has its output projection inside.
    let outer = module.split(".base_layer.").next().unwrap_or(module);
    let own = module.replace(".base_layer.", ".");
    let name = |part: &str| format!("{WRAPPER}{module}.lora_{part}");
    let fail = |reason: String| Error::model(&adapter.name, reason);
    let shape_in = |tensors: &Tensors, name: &str| {
        tensors.shapes().find(|(other, _)| *other == name).map(|(_, shape)| shape.to_vec())
    };
    let (a, b) = (name("A.weight"), name("B.weight"));
    let missing = |tensor: String| fail(format!("tensor `{tensor}` is missing"));
    if !config.targets.names(outer) {
        return Err(fail(format!(
            "tensor `{a}` is of a layer that `target_modules` does not name, so PEFT would not use it"
        )));
    }
    let weight = layout.weight(&own).ok_or_else(|| missing(format!("{own}.weight")))?.to_owned();
    let shape = shape_in(base, &weight).unwrap_or_default();
    let rank = shape_in(adapter, &a).and_then(|shape| shape.first().copied()).unwrap_or(0);
    if rank == 0 || config.rank(outer) != rank as f64 || shape.len() < 2 || shape.contains(&0) {
        let reason = format!("tensor `{a}` has rank {rank}, `r` or `rank_pattern` says {}", config.rank(outer));
        return Err(fail(reason));
    }
    let ones = vec![1; shape.len() - 2];
    for (tensor, expected) in [(&a, [&[rank], &shape[1..]].concat()), (&b, [&[shape[0], rank][..], &ones].concat())] {
        let found = shape_in(adapter, tensor).ok_or_else(|| missing(tensor.clone()))?;
        if found != expected {
            return Err(Error::WrongShape { tensor: tensor.clone(), expected, found, file: adapter.name.clone() });
        }
    }
    let magnitude = ["magnitude_vector", "magnitude_vector.weight"]
        .map(name)
        .into_iter()
        .find(|name| shape_in(adapter, name).is_some());
    if magnitude.is_some() != config.dora {
        let (is, has) = if config.dora { ("true", "no") } else { ("false", "a") };
        return Err(fail(format!("`use_dora` is {is}, but layer `{module}` has {has} `lora_magnitude_vector`")));
    }
    if let Some(name) = &magnitude {
        let found = shape_in(adapter, name).unwrap_or_default();
        if found.iter().product::<usize>() != shape[0] {
            let expected = vec![shape[0]];
            return Err(Error::WrongShape { tensor: name.clone(), expected, found, file: adapter.name.clone() });
        }
    }
    let scale = config.scale(outer);
    if !scale.is_finite() {
        return Err(fail(format!("the scale of layer `{module}` is {scale}: see `lora_alpha` and `alpha_pattern`")));
    }
    let packed = weight.ends_with("in_proj_weight");
    if (packed || own != module) && (config.biased || config.dora) {
        return Err(fail(format!(
            "layer `{module}` is an attention with one weight, for which PEFT has no such adapter"
        )));
    }
    // Inside an attention with one weight, PEFT adds the product twice: for the projection, and with the attention.
    let times = if own == module { 1.0 } else { 2.0 };
    let bias = name("B.bias");
    match (shape_in(adapter, &bias), config.biased) {
        (None, false) => {}
        (Some(found), true) => {
            let target = layout
                .tensor(&format!("{own}.bias"))
                .ok_or_else(|| fail(format!("tensor `{bias}` is there, but the base model's layer has no bias")))?
                .to_owned();
            let expected = vec![shape[0]];
            if found != expected || shape_in(base, &target).as_ref() != Some(&expected) {
                return Err(Error::WrongShape { tensor: bias, expected, found, file: adapter.name.clone() });
            }
            base.change(&target, Box::new(Scaled { adapter: Arc::clone(adapter), bias, scale }));
        }
        (found, biased) => {
            let there = if found.is_some() { "is there" } else { "is missing" };
            return Err(fail(format!("`lora_bias` is {biased}, but tensor `{bias}` {there}")));
        }
    }
    base.change(
        &weight,
        Box::new(LowRank { adapter: Arc::clone(adapter), a, b, magnitude, scale: times * scale, rank }),
    );
    Ok(rank)
}

/// A layer like one of the adapter's, but of another block, that the configuration names and the base has, and the adapter not.
fn lost(config: &LoraConfig, modules: &BTreeSet<String>, layout: &Layout) -> Option<String> {
    let mut tried = BTreeSet::new();
    for module in modules {
        let parts: Vec<&str> = module.split('.').collect();
        let Some(at) = parts.iter().position(|part| part.parse::<usize>().is_ok()) else { continue };
        let like = |i: usize| [&parts[..at], &[i.to_string().as_str()], &parts[at + 1..]].concat().join(".");
        if !tried.insert(like(0)) {
            continue;
        }
        let all = (0..).map(like).take_while(|module| layout.weight(module).is_some());
        let mut all = all.filter(|module| config.targets.names(module) && !modules.contains(module));
        if let Some(lost) = all.next() {
            return Some(lost);
        }
    }
    None
}
