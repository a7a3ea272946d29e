//! Turns logits into predictions: class names with scores.

use std::sync::Arc;

use serde_json::Value;

/// ImageNet-1k's class names: WordNet lemmas in the order every framework uses.
const IMAGENET: &str = include_str!("../assets/imagenet1k.txt");

/// How a model's own library turns logits into the scores that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scores {
    /// The softmax over all classes: exactly one class is right.
    #[default]
    Softmax,
    /// The sigmoid of each class by itself: several classes may be right, or none.
    Sigmoid,
    /// The logits as they are: the model predicts values, not classes (regression).
    Raw,
}

impl Scores {
    /// The score of each class.
    #[must_use]
    pub fn of(self, logits: &[f32]) -> Vec<f32> {
        match self {
            Scores::Softmax => softmax(logits),
            Scores::Sigmoid => logits.iter().map(|v| (1.0 / (1.0 + (-f64::from(*v)).exp())) as f32).collect(),
            Scores::Raw => logits.to_vec(),
        }
    }

    /// Whether scores lie between 0 and 1.
    #[must_use]
    pub fn are_probabilities(self) -> bool {
        self != Scores::Raw
    }
}

/// The names of a model's classes, and how scores are computed from logits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    names: Arc<[Option<String>]>,
    scores: Scores,
}

/// One class with its score.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Index of the class, from 0.
    pub index: usize,
    /// Name of the class, if the model has names.
    pub label: Option<String>,
    /// What the model's own library would show: a probability between 0 and 1 (softmax, or sigmoid for a model of several labels or
    /// of one class), or the raw value of a regression.
    pub score: f32,
}

impl Labels {
    fn new(names: impl Into<Arc<[Option<String>]>>) -> Labels {
        Labels { names: names.into(), scores: Scores::default() }
    }

    /// These names, one for each class.
    #[must_use]
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Labels {
        Labels::new(names.into_iter().map(|name| Some(name.to_owned())).collect::<Vec<_>>())
    }

    /// These names, with scores computed in another way.
    #[must_use]
    pub fn scored(self, scores: Scores) -> Labels {
        Labels { scores, ..self }
    }

    /// How [`Labels::top_k`] computes scores from logits.
    #[must_use]
    pub fn scores(&self) -> Scores {
        self.scores
    }

    /// Labels for a model that has no names in its files: none, or ImageNet-1k's if there are exactly 1,000 classes.
    #[must_use]
    pub fn none(classes: usize) -> Labels {
        if classes == 1000 {
            Labels::new(IMAGENET.lines().map(|line| Some(line.to_owned())).collect::<Vec<_>>())
        } else {
            Labels::new(vec![None; classes])
        }
    }

    /// Reads `id2label` (Hugging Face) or `label_names` (timm; `labels` in old files; inside `pretrained_cfg` too). Where a file of
    /// timm's has `label_descriptions`, they are shown in place of the names that they describe, as timm shows them.
    ///
    /// # Errors
    /// A message about the entry that can't be used.
    pub fn from_config(config: Option<&Value>, classes: usize) -> Result<Labels, String> {
        let root = |name: &str| config.and_then(|config| config.get(name)).filter(|value| !value.is_null());
        let inner = |name: &str| root("pretrained_cfg").and_then(|cfg| cfg.get(name)).filter(|value| !value.is_null());
        let in_root = ["id2label", "label_names", "labels"].iter().find_map(|name| root(name).map(|v| (*name, v)));
        let found = in_root.or_else(|| {
            let names = ["label_names", "labels"].iter().find_map(|name| inner(name).map(|v| (*name, v)))?;
            // timm keeps the names of the original training here even when the model was given another head.
            names.1.as_array().is_none_or(|list| list.len() == classes).then_some(names)
        });
        let Some((name, value)) = found else { return Ok(Labels::none(classes)) };
        let mut labels = vec![None; classes];
        let text = |value: &Value| match value {
            Value::String(text) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
            Value::Array(_) | Value::Object(_) => Err(format!("`{name}` has the name {value}")),
        };
        match value {
            Value::Array(list) if list.len() == classes => {
                labels = list.iter().map(text).collect::<Result<_, _>>()?;
            }
            Value::Array(list) => return Err(format!("`{name}` has {} names for {classes} classes", list.len())),
            Value::Object(map) => {
                for (id, value) in map {
                    // A configuration may name classes of a head that the weights do not have.
                    let index = id.parse::<usize>().map_err(|_| format!("`{name}` has the key `{id}`"))?;
                    if let Some(label) = labels.get_mut(index) {
                        *label = text(value)?;
                    }
                }
            }
            other => return Err(format!("`{name}` is {other}")),
        }
        // transformers shows the names of such a file.
        let descriptions = root("label_descriptions").or(inner("label_descriptions"));
        if let Some(descriptions) = descriptions.filter(|_| root("model_type").is_none()).and_then(Value::as_object) {
            for label in labels.iter_mut().flatten() {
                let description = descriptions.get(label.as_str()).and_then(Value::as_str);
                *label = description.map_or_else(|| label.clone(), str::to_owned);
            }
        }
        // transformers fills in LABEL_0… where the author gave none.
        let invented = labels.iter().enumerate().all(|(i, label)| label.as_deref() == Some(&format!("LABEL_{i}")));
        Ok(if invented && classes == 1000 { Labels::none(classes) } else { Labels::new(labels) })
    }

    /// The name of a class.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        self.names.get(index).and_then(|label| label.as_deref())
    }

    /// The `k` classes with the highest logits (all of them where there are fewer), best first, equal ones by index. The
    /// logits must be finite.
    #[must_use]
    pub fn top_k(&self, logits: &[f32], k: usize) -> Vec<Prediction> {
        let scores = self.scores.of(logits);
        highest(logits, k)
            .into_iter()
            .map(|index| Prediction { index, label: self.get(index).map(str::to_owned), score: scores[index] })
            .collect()
    }
}

/// The positions of the `k` highest logits, highest first, equal ones in order.
#[must_use]
pub fn highest(logits: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    order.truncate(k);
    order
}

/// The softmax of the logits. The largest logit is subtracted first, and sums are f64.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|v| (f64::from(*v) - f64::from(max)).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|e| (e / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn softmax_survives_large_logits_and_sums_to_one() {
        let p = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((p[0] - 0.731_058_6).abs() < 1e-6 && p[2] == 0.0);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn each_kind_of_score_follows_its_formula() {
        assert_eq!(Scores::Softmax.of(&[7.0]), [1.0]);
        assert_eq!(Scores::Sigmoid.of(&[0.0, 1000.0, -1000.0]), [0.5, 1.0, 0.0]);
        assert!((Scores::Sigmoid.of(&[1.793_6])[0] - 0.857_37).abs() < 1e-4);
        let raw = Labels::none(3).scored(Scores::Raw).top_k(&[-0.5, 2.5, 1.0], 2);
        assert_eq!(raw.iter().map(|p| (p.index, p.score)).collect::<Vec<_>>(), [(1, 2.5), (2, 1.0)]);
    }

    #[test]
    fn top_k_is_clamped_sorted_and_stable() {
        let labels = Labels::from_config(Some(&json!({"id2label": {"0": "a", "2": "c", "9": "z"}})), 3).unwrap();
        let top = labels.top_k(&[1.0, 2.0, 2.0], 99);
        assert_eq!(top.iter().map(|p| p.index).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(top.iter().map(|p| p.label.as_deref()).collect::<Vec<_>>(), [None, Some("c"), Some("a")]);
        assert_eq!(labels.top_k(&[1.0, 2.0, 2.0], 1).len(), 1);
    }

    #[test]
    fn names_are_found_wherever_libraries_put_them() {
        let names = |config: Value| {
            let labels = Labels::from_config(Some(&config), 2)?;
            Ok::<_, String>([0, 1].map(|i| labels.get(i).unwrap_or("-").to_owned()))
        };
        assert_eq!(names(json!({"id2label": {"0": 7, "1": true}})).unwrap(), ["7", "true"]);
        assert_eq!(names(json!({"id2label": {"0": null, "1": "b"}})).unwrap(), ["-", "b"]);
        assert_eq!(names(json!({"pretrained_cfg": {"label_names": ["a", "b"]}})).unwrap(), ["a", "b"]);
        assert_eq!(names(json!({"pretrained_cfg": {"labels": {"1": "b"}}})).unwrap(), ["-", "b"]);
        let outer = json!({"label_names": ["c", "d"], "pretrained_cfg": {"label_names": ["a", "b"]}});
        assert_eq!(names(outer).unwrap(), ["c", "d"]);
        assert_eq!(names(json!({"pretrained_cfg": {"label_names": ["a", "b", "c"]}})).unwrap(), ["-", "-"]);
        let described = json!({"label_names": ["n1", "n2"], "label_descriptions": {"n1": "cat"}});
        assert_eq!(names(described.clone()).unwrap(), ["cat", "n2"]);
        let mut wrapped = described;
        wrapped["model_type"] = "timm_wrapper".into();
        assert_eq!(names(wrapped).unwrap(), ["n1", "n2"]);
        assert!(names(json!({"id2label": {"0": ["a"]}})).unwrap_err().contains("`id2label` has the name"));
    }

    #[test]
    fn names_come_from_the_configuration_or_from_imagenet() {
        assert_eq!(Labels::none(1000).get(281), Some("tabby, tabby cat"));
        assert_eq!(Labels::none(10).get(3), None);
        let invented: serde_json::Map<_, _> = (0..1000).map(|i| (i.to_string(), json!(format!("LABEL_{i}")))).collect();
        let labels = Labels::from_config(Some(&json!({"id2label": invented})), 1000).unwrap();
        assert_eq!(labels.get(0), Some("tench, Tinca tinca"));
        assert!(Labels::from_config(Some(&json!({"label_names": ["a"]})), 2).is_err());
        assert!(Labels::from_config(Some(&json!({"id2label": {"x": "a"}})), 2).is_err());
    }
}
