//! The file of a head: safetensors, with all that is no number in its metadata.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::linear::Linear;
use super::neighbours::Neighbours;
use super::{Head, HeadKind};
use crate::error::{Error, Result};
use crate::insight::features::Features;

/// What the metadata says of the file, so that a model's weights are never taken for a head.
const FORMAT: (&str, &str) = ("format", "vit-gpu head 1");

pub fn write(head: &Head, path: &Path) -> Result<()> {
    let mut metadata = HashMap::from([
        (FORMAT.0.to_owned(), FORMAT.1.to_owned()),
        ("labels".to_owned(), serde_json::json!(head.labels).to_string()),
        ("features".to_owned(), head.features.name().to_owned()),
        ("model".to_owned(), head.model.clone()),
        ("fingerprint".to_owned(), head.fingerprint.clone()),
    ]);
    let (classes, width) = (head.labels.len(), head.width());
    let (tensors, kind) = match &head.kind {
        HeadKind::Linear(linear) => {
            let weight = ("weight", Dtype::F32, vec![classes, width], bytes(linear.weights()));
            (vec![weight, ("bias", Dtype::F32, vec![classes], bytes(linear.biases()))], "linear")
        }
        HeadKind::Neighbours(neighbours) => {
            metadata.insert("k".to_owned(), neighbours.k().to_string());
            let (features, numbers) = neighbours.examples();
            let numbers: Vec<u8> = numbers.iter().flat_map(|class| (*class as i64).to_le_bytes()).collect();
            let count = features.len() / width;
            let features = ("features", Dtype::F32, vec![count, width], bytes(features));
            (vec![features, ("classes", Dtype::I64, vec![count], numbers)], "neighbours")
        }
    };
    metadata.insert("kind".to_owned(), kind.to_owned());
    let failed = |error: String| Error::io(path)(std::io::Error::other(error));
    let mut views = Vec::with_capacity(tensors.len());
    for (name, dtype, shape, bytes) in &tensors {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| failed(error.to_string()))?;
        views.push((*name, view));
    }
    let file = safetensors::serialize(views, Some(metadata)).map_err(|error| failed(error.to_string()))?;
    std::fs::write(path, file).map_err(Error::io(path))
}

pub fn read(path: &Path) -> Result<Head> {
    let file = std::fs::read(path).map_err(Error::io(path))?;
    let broken = |reason: String| Error::Safetensors { file: path.to_path_buf(), reason };
    let tensors = SafeTensors::deserialize(&file).map_err(|error| broken(error.to_string()))?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(|error| broken(error.to_string()))?;
    let none = HashMap::new();
    let metadata = header.metadata().as_ref().unwrap_or(&none);
    let other = |reason: String| Error::model(path.display().to_string(), reason);
    if metadata.get(FORMAT.0).map(String::as_str) != Some(FORMAT.1) {
        return Err(other("not a head: `vit-gpu probe` writes such files".to_owned()));
    }
    parsed(&tensors, metadata).map_err(|reason| other(format!("a damaged head: {reason}")))
}

fn parsed(tensors: &SafeTensors<'_>, metadata: &HashMap<String, String>) -> Result<Head, String> {
    let text = |key: &str| metadata.get(key).cloned().ok_or_else(|| format!("`{key}` is missing"));
    let labels: Vec<String> = serde_json::from_str(&text("labels")?).map_err(|error| format!("`labels`: {error}"))?;
    let features = text("features")?;
    let features = Features::named(&features).ok_or_else(|| format!("`features` is `{features}`"))?;
    let values = |name: &str, dtype, rank: usize| -> Result<(Vec<usize>, Vec<u8>), String> {
        let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
        if tensor.dtype() != dtype || tensor.shape().len() != rank || tensor.shape().contains(&0) {
            return Err(format!("`{name}` is {:?} {:?}", tensor.dtype(), tensor.shape()));
        }
        Ok((tensor.shape().to_vec(), tensor.data().to_vec()))
    };
    let said = |error: Error| error.to_string();
    let kind = match text("kind")?.as_str() {
        "linear" => {
            let (weight, bias) = (values("weight", Dtype::F32, 2)?, values("bias", Dtype::F32, 1)?);
            if weight.0[0] != bias.0[0] {
                return Err(format!("`weight` is {:?}, `bias` {:?}", weight.0, bias.0));
            }
            HeadKind::Linear(Linear::new(floats(&weight.1), floats(&bias.1)).map_err(said)?)
        }
        "neighbours" => {
            let (rows, classes) = (values("features", Dtype::F32, 2)?, values("classes", Dtype::I64, 1)?);
            let k = text("k")?.parse().map_err(|_| "`k` is no number".to_owned())?;
            let rows: Vec<Vec<f32>> = floats(&rows.1).chunks_exact(rows.0[1]).map(<[f32]>::to_vec).collect();
            let numbers = classes.1.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            let numbers: Vec<usize> = numbers.map(|class| usize::try_from(class).unwrap_or(usize::MAX)).collect();
            HeadKind::Neighbours(Neighbours::new(&rows, &numbers, labels.len(), k).map_err(said)?)
        }
        kind => return Err(format!("`kind` is `{kind}`")),
    };
    let head = Head { labels, features, kind, model: text("model")?, fingerprint: text("fingerprint")? };
    head.check_sizes().map_err(said)?;
    Ok(head)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
