//! Which layers an adapter's configuration names, by PEFT's rules for names, lists of names and patterns.

use regex_lite::Regex;
use serde_json::Value;

/// What is wrong with a value.
type Result<T> = std::result::Result<T, String>;

/// Names of layers.
enum Modules {
    /// Layers of these names: whole ones, or their last parts.
    Listed(Vec<String>),
    /// Layers whose whole name the pattern matches.
    Pattern(Regex),
}

impl Modules {
    /// A list of names, or a text that is a pattern; `None` for null and for what has no content.
    fn read(value: &Value, key: &str) -> Result<Option<Modules>> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) => Ok(Some(Modules::Pattern(pattern(key, &format!("^(?:{text})$"), text)?))),
            other => {
                let names = texts(other, key)?;
                Ok((!names.is_empty()).then_some(Modules::Listed(names)))
            }
        }
    }

    fn names(&self, module: &str) -> bool {
        match self {
            Modules::Listed(names) => names.iter().any(|name| is_or_ends_with(module, name)),
            Modules::Pattern(pattern) => pattern.is_match(module),
        }
    }
}

/// The layers that have low-rank parts.
pub struct Targets {
    /// `None` for all layers.
    wanted: Option<Modules>,
    excluded: Option<Modules>,
    /// Modules that are stored whole, which have no low-rank parts.
    saved: Vec<String>,
    /// With a list of names: the blocks that are meant, by their index, and how the index is found.
    blocks: Option<(Vec<u64>, Vec<Regex>)>,
}

impl Targets {
    /// Reads `target_modules`, `exclude_modules`, `modules_to_save`, `layers_to_transform` and `layers_pattern`.
    pub fn read(config: &Value) -> Result<Targets> {
        let wanted = match &config["target_modules"] {
            Value::String(all) if all.eq_ignore_ascii_case("all-linear") => None,
            other => Modules::read(other, "target_modules")?,
        };
        let saved = match &config["modules_to_save"] {
            Value::Null => Vec::new(),
            other => texts(other, "modules_to_save")?,
        };
        let excluded = Modules::read(&config["exclude_modules"], "exclude_modules")?;
        let blocks = match (&config["layers_to_transform"], &wanted) {
            (Value::Null, _) => None,
            (Value::Array(list), _) if list.is_empty() => None,
            (value, Some(Modules::Listed(_))) => Some((indices(value)?, lists(&config["layers_pattern"])?)),
            (value, _) => return Err(format!("`layers_to_transform` is {value} without a list of `target_modules`")),
        };
        Ok(Targets { wanted, excluded, saved, blocks })
    }

    /// Whether a layer is one of them.
    pub fn names(&self, module: &str) -> bool {
        if self.excluded.as_ref().is_some_and(|excluded| excluded.names(module)) || self.saves(module) {
            return false;
        }
        let in_block = self.blocks.as_ref().is_none_or(|(indices, lists)| {
            // A list that matches decides, whatever those after it match.
            let index = lists.iter().find_map(|list| list.captures(module)?.name("idx")?.as_str().parse().ok());
            index.is_some_and(|index| indices.contains(&index))
        });
        let Some(wanted) = &self.wanted else { return true };
        let whole = matches!(wanted, Modules::Listed(names) if names.iter().any(|name| name == module));
        // A whole name is meant in whichever block it is.
        whole || wanted.names(module) && in_block
    }

    /// Whether a module, or one that it is part of, is stored whole.
    pub fn saves(&self, module: &str) -> bool {
        let (module, within) = (format!(".{module}."), |name: &String| format!(".{name}."));
        self.saved.iter().any(|saved| module.contains(&within(saved)))
    }
}

/// A number for layers whose names match a pattern: `rank_pattern` and `alpha_pattern`.
pub struct Numbers(Vec<(Regex, f64)>);

impl Numbers {
    pub fn read(config: &Value, key: &str) -> Result<Numbers> {
        let map = match &config[key] {
            Value::Null => return Ok(Numbers(Vec::new())),
            Value::Object(map) => map,
            other => return Err(format!("`{key}` is {other}, not an object")),
        };
        let each = map.iter().map(|(text, value)| {
            let number = value.as_f64().ok_or_else(|| format!("`{key}` is {value} for `{text}`"))?;
            Ok((pattern(key, &format!("^(?:.*\\.)?(?:{text})$"), text)?, number))
        });
        each.collect::<Result<_>>().map(Numbers)
    }

    /// The number for a layer: that of the first pattern which matches.
    pub fn of(&self, module: &str) -> Option<f64> {
        self.0.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, number)| *number)
    }
}

/// Whether the name is this one, or has it as its last parts.
fn is_or_ends_with(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn pattern(key: &str, whole: &str, shown: &str) -> Result<Regex> {
    Regex::new(whole).map_err(|error| format!("`{key}` has the pattern `{shown}`, which can't be read: {error}"))
}

fn texts(value: &Value, key: &str) -> Result<Vec<String>> {
    let texts = value.as_array().and_then(|all| all.iter().map(|text| Some(text.as_str()?.to_owned())).collect());
    texts.ok_or_else(|| format!("`{key}` is {value}, not a list of texts"))
}

fn indices(value: &Value) -> Result<Vec<u64>> {
    let one = value.as_u64().map(|index| vec![index]);
    let several = || value.as_array()?.iter().map(Value::as_u64).collect();
    one.or_else(several).ok_or_else(|| format!("`layers_to_transform` is {value}"))
}

/// How the index of a block is found in a layer's name: after a name of `layers_pattern`, or after any.
fn lists(value: &Value) -> Result<Vec<Regex>> {
    let key = "layers_pattern";
    let names = match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        other => texts(other, key)?,
    };
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(vec![pattern(key, r"^.*?\.[^.]*\.(?P<idx>\d+)\.", "")?]);
    }
    names.iter().map(|name| pattern(key, &format!(r"^(?:|.*?\.)(?:{name})\.(?P<idx>\d+)\."), name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(config: &Value, modules: &[&str]) -> Vec<bool> {
        let targets = Targets::read(config).unwrap();
        modules.iter().map(|module| targets.names(module)).collect()
    }

    #[test]
    fn names_are_whole_or_last_parts() {
        let config =
            json!({"target_modules": ["query", "a.fc1"], "exclude_modules": ["1.query"], "modules_to_save": ["x"]});
        let modules =
            ["l.0.query", "l.1.query", "query", "l.myquery", "a.fc1", "b.a.fc1", "b.fc1", "x.query", "x.y.query"];
        assert_eq!(named(&config, &modules), [true, false, true, false, true, true, false, false, false]);
    }

    #[test]
    fn patterns_match_whole_names() {
        let config = json!({"target_modules": r"blocks\.[02]\..*(qkv|fc1)", "exclude_modules": r".*2\.mlp\..*"});
        let modules = ["blocks.0.attn.qkv", "blocks.0.attn.qkv.x", "a.blocks.0.attn.qkv", "blocks.2.mlp.fc1"];
        assert_eq!(named(&config, &modules), [true, false, false, false]);
        assert!(named(&json!({"target_modules": "all-linear"}), &["anything"])[0]);
    }

    #[test]
    fn blocks_are_told_by_the_first_index() {
        let config = json!({"target_modules": ["fc"], "layers_to_transform": [1]});
        assert_eq!(
            named(&config, &["a.l.1.fc", "a.l.0.fc", "a.l.0.m.1.fc", "fc", "l.1.fc"]),
            [true, false, false, true, false]
        );
        let config = json!({"target_modules": ["fc"], "layers_to_transform": 1, "layers_pattern": "blocks"});
        assert_eq!(named(&config, &["blocks.1.fc", "l.1.fc", "x.blocks.1.fc"]), [true, false, true]);
    }

    #[test]
    fn the_first_pattern_that_matches_gives_the_number() {
        let numbers = Numbers::read(&json!({"p": {"fc1": 4, "l.0.fc.": 8, "^q": 2}}), "p").unwrap();
        let all = ["l.0.fc1", "l.0.fc2", "l.1.fc2", "q", "l.q", "fc12"].map(|module| numbers.of(module));
        assert_eq!(all, [Some(4.0), Some(8.0), None, Some(2.0), None, None]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (config, key) in [
            (json!({"target_modules": 1}), "target_modules"),
            (json!({"target_modules": "(?=x)"}), "target_modules"),
            (json!({"exclude_modules": [1]}), "exclude_modules"),
            (json!({"target_modules": "x", "layers_to_transform": 1}), "layers_to_transform"),
            (json!({"target_modules": ["x"], "layers_to_transform": ["a"]}), "layers_to_transform"),
            (json!({"target_modules": ["x"], "layers_to_transform": 1, "layers_pattern": "("}), "layers_pattern"),
        ] {
            let error = Targets::read(&config).map(|_| ()).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }
}
