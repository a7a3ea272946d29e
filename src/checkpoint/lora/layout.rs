//! Where the layers of an adapter are among the tensors of its base model, whose names may have another prefix or spelling.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::tensors::Tensors;

/// How the names of an adapter's layers become those of the base model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prefix {
    /// They are the same.
    Same,
    /// The base model was saved alone: its names lack this.
    Lacks(String),
    /// The adapter was made for a part of the base model: the names of that part have this in front.
    Has(String),
}

impl Prefix {
    fn apply(&self, name: &str) -> String {
        match self {
            Prefix::Same => name.to_owned(),
            Prefix::Lacks(start) => name.strip_prefix(start).unwrap_or(name).to_owned(),
            Prefix::Has(start) => format!("{start}{name}"),
        }
    }
}

/// The base model's tensors, by names in one spelling.
pub struct Layout {
    /// From the one spelling to the name in the file.
    names: BTreeMap<String, String>,
    pub prefix: Prefix,
}

impl Layout {
    /// Finds the prefix with which all `modules` are in the base. `vision` says, where it is known, that the adapter was made for
    /// the images' tower of a model that has two.
    ///
    /// # Errors
    /// A module that the base does not have, or prefixes among which nothing decides.
    pub fn find(base: &Tensors, modules: &BTreeSet<&str>, vision: Option<bool>) -> Result<Layout, String> {
        let names: BTreeMap<String, String> = base.shapes().map(|(name, _)| (spelled(name), name.to_owned())).collect();
        let mut layout = Layout { names, prefix: Prefix::Same };
        let Some(first) = modules.first() else { return Ok(layout) };
        let first = spelled(first);
        let stems = layout
            .names
            .keys()
            .filter_map(|name| name.strip_suffix(".weight").or(name.strip_suffix(".in_proj_weight")));
        let of = |stem: &str| match (first.strip_suffix(stem), stem.strip_suffix(&first)) {
            (Some(""), _) => Some(Prefix::Same),
            (Some(start), _) if start.ends_with('.') => Some(Prefix::Lacks(start.to_owned())),
            (_, Some(start)) if start.ends_with('.') => Some(Prefix::Has(start.to_owned())),
            _ => None,
        };
        let mut found: Vec<Prefix> = stems.filter_map(of).collect::<BTreeSet<_>>().into_iter().collect();
        found.retain(|prefix| modules.iter().all(|module| layout.weight_with(prefix, module).is_some()));
        if found.first() == Some(&Prefix::Same) {
            found.truncate(1);
        }
        if let Some(vision) = vision.filter(|_| found.len() > 1) {
            found.retain(|prefix| !matches!(prefix, Prefix::Has(start) if start.contains("text") == vision));
        }
        match &found[..] {
            [only] => layout.prefix = only.clone(),
            [] => {
                let lost = modules.iter().find(|module| layout.weight_with(&Prefix::Same, module).is_none());
                return Err(format!("layer `{}`, which the base model does not have", lost.unwrap_or(&"")));
            }
            several => {
                let shown: Vec<String> = several.iter().take(2).map(|prefix| prefix.apply(&first)).collect();
                return Err(format!("layer `{first}`, which may be {} of the base model", shown.join(" or ")));
            }
        }
        Ok(layout)
    }

    /// The base model's name of a tensor.
    pub fn tensor(&self, name: &str) -> Option<&str> {
        self.named(&self.prefix, name)
    }

    /// The name that a tensor which the base does not have is to get.
    pub fn new_name(&self, name: &str) -> String {
        self.prefix.apply(name)
    }

    /// The base model's name of a layer's weight.
    pub fn weight(&self, module: &str) -> Option<&str> {
        self.weight_with(&self.prefix, module)
    }

    fn weight_with(&self, prefix: &Prefix, module: &str) -> Option<&str> {
        let own = self.named(prefix, &format!("{module}.weight"));
        own.or_else(|| self.named(prefix, &format!("{module}.in_proj_weight")))
    }

    fn named(&self, prefix: &Prefix, name: &str) -> Option<&str> {
        self.names.get(&prefix.apply(&spelled(name))).map(String::as_str)
    }
}

/// A name in the spelling of transformers 4, which files have, if it is in that of transformers 5.
fn spelled(name: &str) -> String {
    let mut name = name.to_owned();
    // ViT and its like: `layers.0` stands for `encoder.layer.0`; CLIP's `encoder.layers.0` is the same in both.
    let start = if name.starts_with("layers.") { Some(0) } else { name.find(".layers.").map(|at| at + 1) };
    if let Some(at) = start.filter(|at| !name[..*at].ends_with("encoder.")) {
        name.replace_range(at..at + "layers.".len(), "encoder.layer.");
        for (new, old) in [(".mlp.fc1.", ".intermediate.dense."), (".mlp.fc2.", ".output.dense.")] {
            name = format!("{name}.").replace(new, old).trim_end_matches('.').to_owned();
        }
    }
    for (new, old) in [
        ("q_proj", "attention.query"),
        ("k_proj", "attention.key"),
        ("v_proj", "attention.value"),
        ("o_proj", "output.dense"),
    ] {
        let whole = format!("{name}.").replace(&format!(".attention.{new}."), &format!(".attention.{old}."));
        whole[..whole.len() - 1].clone_into(&mut name);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn spellings_of_two_versions_are_one() {
        for (new, old) in [
            ("vit.layers.0.attention.q_proj", "vit.encoder.layer.0.attention.attention.query"),
            ("layers.11.attention.o_proj.weight", "encoder.layer.11.attention.output.dense.weight"),
            ("vit.layers.0.mlp.fc2", "vit.encoder.layer.0.output.dense"),
            ("vit.layers.0.mlp.fc1.bias", "vit.encoder.layer.0.intermediate.dense.bias"),
            ("dinov2.encoder.layer.0.attention.v_proj", "dinov2.encoder.layer.0.attention.attention.value"),
        ] {
            assert_eq!((spelled(new).as_str(), spelled(old).as_str()), (old, old));
        }
        for same in ["vision_model.encoder.layers.0.mlp.fc1", "encoder.layers.0.self_attn.q_proj", "blocks.0.mlp.fc1"] {
            assert_eq!(spelled(same), same);
        }
    }
}
