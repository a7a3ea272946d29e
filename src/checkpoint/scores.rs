//! What a model's own library shows as scores: `problem_type` of transformers' configurations, by the rules of its
//! image-classification pipeline (`transformers/pipelines/image_classification.py`).

use serde_json::Value;

use super::names::Names;
use crate::error::Result;
use crate::labels::Scores;

/// How scores are computed for a model with this number of classes.
///
/// The pipeline asks for regression first, then for several labels or a single class. A `function_to_apply` in the
/// configuration is not read, because the pipeline reads it only for a model without classes. timm's own files have no
/// such field; timm always applies a softmax, even for one class.
pub fn read(names: &Names, family: &str, classes: usize) -> Result<Scores> {
    // What `convert` wrote.
    if let Some(scores) = names.field("scores").filter(|_| family == super::canonical::FAMILY.name) {
        let kept = serde_json::from_value(scores.clone());
        return kept.map_err(|error| names.config_error(format!("`scores`: {error}")));
    }
    let transformers = family.starts_with("huggingface") || names.text_field("model_type") == Some("timm_wrapper");
    match names.field("problem_type").map(|value| (value, value.as_str())) {
        Some((_, Some("regression"))) => Ok(Scores::Raw),
        Some((_, Some("multi_label_classification"))) => Ok(Scores::Sigmoid),
        None | Some((_, Some("single_label_classification"))) if transformers && classes == 1 => Ok(Scores::Sigmoid),
        None | Some((_, Some("single_label_classification"))) => Ok(Scores::Softmax),
        Some((other, _)) => Err(names.config_error(unknown(other))),
    }
}

fn unknown(value: &Value) -> String {
    let known = "regression, single_label_classification and multi_label_classification";
    format!("`problem_type` is {value}; transformers has {known}")
}
