//! The configuration of a base model whose head an adapter replaces: classes and their names are then not the base's.

use serde_json::{Map, Value, json};

/// Keys that are about the classes of a head.
const ABOUT_CLASSES: [&str; 7] =
    ["id2label", "label2id", "num_labels", "label_names", "label_descriptions", "labels", "problem_type"];

/// Whether a tensor, by its name, is of a head: of a layer that is outside the blocks, and no embedding, norm or pooling.
pub fn is_head(name: &str) -> bool {
    let other = ["embed", "token", "norm", "pool"].iter().any(|part| name.contains(part));
    !other && !name.split('.').any(|part| part.parse::<usize>().is_ok())
}

/// The base model's configuration for the merged model. `class` is the class of the model that the adapter was made for, where it
/// is not the base's; `classes` is the number of classes of a head that the adapter replaces. Their names are then those in `own`,
/// the `config.json` beside the adapter.
pub fn configured(
    base: Option<Value>,
    class: Option<String>,
    classes: Option<usize>,
    own: Option<&Value>,
) -> Option<Value> {
    let mut config = match base? {
        Value::Object(config) => config,
        other => return Some(other),
    };
    match class {
        Some(class) if class.is_empty() => drop(config.shift_remove("architectures")),
        Some(class) if config.contains_key("architectures") => {
            drop(config.insert("architectures".to_owned(), json!([class])))
        }
        _ => {}
    }
    if let Some(classes) = classes {
        forget(&mut config, classes);
        if let Some(Value::Object(pretrained)) = config.get_mut("pretrained_cfg") {
            forget(pretrained, classes);
        }
        for key in ABOUT_CLASSES {
            if let Some(value) = own.and_then(|own| own.get(key)) {
                config.insert(key.to_owned(), value.clone());
            }
        }
    }
    Some(Value::Object(config))
}

fn forget(config: &mut Map<String, Value>, classes: usize) {
    for key in ABOUT_CLASSES {
        config.shift_remove(key);
    }
    if let Some(stated) = config.get_mut("num_classes") {
        *stated = json!(classes);
    }
}
