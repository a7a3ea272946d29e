//! `preprocessor_config.json`: Hugging Face's image processors.

use serde_json::Value;

use crate::checkpoint::names::{pair, size};
use crate::checkpoint::transforms::{CLIP_MEAN, CLIP_STD, field, triple};
use crate::preprocess::{Arithmetic, Crop, CropRule, Filter, Resize, Resizer, Transform};

/// Class defaults of a Hugging Face processor: size, whether an int means the shortest edge, filter, crop, mean, std.
struct Defaults {
    size: Value,
    shortest: bool,
    filter: Filter,
    crop: bool,
    mean: [f32; 3],
    std: [f32; 3],
}

fn defaults(kind: &str) -> Option<Defaults> {
    let half = ([0.5; 3], [0.5; 3]);
    let clip = (CLIP_MEAN, CLIP_STD);
    let square = |n: usize| serde_json::json!({"height": n, "width": n});
    let edge = serde_json::json!({"shortest_edge": 224});
    let (size, shortest, filter, crop, (mean, std)) = match kind {
        "ViTImageProcessor" => (square(224), false, Filter::Bilinear, false, half),
        "SiglipImageProcessor" => (square(224), false, Filter::Bicubic, false, half),
        "DeiTImageProcessor" => (square(256), false, Filter::Bicubic, true, half),
        "BitImageProcessor" | "CLIPImageProcessor" => (edge, true, Filter::Bicubic, true, clip),
        _ => return None,
    };
    Some(Defaults { size, shortest, filter, crop, mean, std })
}

/// An image processor: resize, crop, rescale, normalise.
///
/// Names that end in `Fast` are torchvision's arithmetic, in `Pil` Pillow's; plain ones are Pillow's in transformers 4 and
/// torchvision's in 5, which `version` decides: that of the library that wrote the model's `config.json`.
///
/// With `image_size`, the result has that size. This sets the crop, or the resize if there is no crop. A resize before a crop keeps
/// its ratio to the crop's size.
pub fn processor(json: &Value, version: Option<&str>, image_size: Option<(usize, usize)>) -> Result<Transform, String> {
    // processor_config.json nests it.
    let json = json.get("image_processor").filter(|inner| inner.is_object()).unwrap_or(json);
    let name = |key: &str| match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(other) => Err(format!("`{key}` is {other}, not a text")),
    };
    let old_name = name("feature_extractor_type")?.map(|old| old.replace("FeatureExtractor", "ImageProcessor"));
    let kind = name("image_processor_type")?.or(old_name).unwrap_or_else(|| "ViTImageProcessor".to_owned());
    let plain = kind.trim_end_matches("Fast").trim_end_matches("Pil");
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let fast = kind.ends_with("Fast") || (plain == kind && major.is_some_and(|major| major >= 5));
    let defaults = defaults(plain).ok_or_else(|| format!("image_processor_type `{kind}` is not supported"))?;

    if let Some(key) = unknown(json) {
        return Err(format!("`{key}` is {}, but this key is not known and may change the pixels", json[key]));
    }
    let switch = |key: &str, default: bool| field(json, key, default, Value::as_bool);
    let resize = if switch("do_resize", true)? {
        resize_rule(json.get("size").filter(|size| !size.is_null()).unwrap_or(&defaults.size), defaults.shortest)?
    } else {
        Resize::None
    };
    let filter = field(json, "resample", defaults.filter, |number| Filter::from_pillow(number.as_u64()?))?;
    let crop = if switch("do_center_crop", defaults.crop)? {
        let size = field(json, "crop_size", (224, 224), height_width)?;
        let rule = if fast { CropRule::HuggingFaceFast } else { CropRule::HuggingFace };
        Some(Crop { size, rule, fill: [0; 3] })
    } else {
        None
    };
    let rescale = if switch("do_rescale", true)? {
        Some(field(json, "rescale_factor", 1.0 / 255.0, Value::as_f64)?)
    } else {
        None
    };
    let normalize = switch("do_normalize", true)?;
    let mean = field(json, "image_mean", defaults.mean, triple)?;
    let std = field(json, "image_std", defaults.std, triple)?;
    let (resizer, arithmetic) = if fast {
        (Resizer::Torchvision, Arithmetic::HuggingFaceFast { rescale, normalize })
    } else {
        (Resizer::Pillow, Arithmetic::HuggingFace { rescale, normalize })
    };
    let transform = Transform { resize, filter, resizer, crop, mean, std, arithmetic };
    Ok(match image_size {
        Some(size) => transform.with_size(size),
        None => transform,
    })
}

/// Known keys of processors: they are read, or they change no pixel.
const KEYS: [&str; 24] = [
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "do_convert_rgb",
    "default_to_square",
    "data_format",
    "input_data_format",
    "device",
    "return_tensors",
    "disable_grouping",
    "image_seq_length",
    "auto_map",
    "model_input_names",
    "use_square_size",
];

/// The first unknown key. Keys that begin with `_` and keys that are off are not counted.
fn unknown(json: &Value) -> Option<&str> {
    let off = |value: &Value| value.is_null() || value == &Value::Bool(false);
    let keys = json.as_object()?.iter();
    let mut odd = keys.filter(|(key, value)| !KEYS.contains(&key.as_str()) && !key.starts_with('_') && !off(value));
    odd.next().map(|(key, _)| key.as_str())
}

fn resize_rule(value: &Value, shortest: bool) -> Result<Resize, String> {
    let bad = || format!("`size` is {value}");
    let rule = match value.get("shortest_edge").and_then(size) {
        Some(_) if value.get("longest_edge").is_some_and(|longest| !longest.is_null()) => return Err(bad()),
        Some(n) => Resize::Shortest(n),
        None if shortest && value.is_u64() => Resize::Shortest(size(value).ok_or_else(bad)?),
        None => {
            let (h, w) = height_width(value).ok_or_else(bad)?;
            Resize::Exact(h, w)
        }
    };
    match rule {
        Resize::Shortest(0) | Resize::Exact(0, _) | Resize::Exact(_, 0) => Err(bad()),
        rule => Ok(rule),
    }
}

/// `{"height", "width"}`, a number or a pair.
fn height_width(value: &Value) -> Option<(usize, usize)> {
    match value.as_object() {
        Some(object) => Some((size(object.get("height")?)?, size(object.get("width")?)?)),
        None => pair(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arithmetic_follows_the_name_and_the_version() {
        let resizer =
            |name: &str, version| processor(&json!({"image_processor_type": name}), version, None).unwrap().resizer;
        for (name, version, want) in [
            ("ViTImageProcessor", None, Resizer::Pillow),
            ("ViTImageProcessor", Some("4.57.6"), Resizer::Pillow),
            ("ViTImageProcessor", Some("5.0.0.dev0"), Resizer::Torchvision),
            ("ViTImageProcessorFast", Some("4.57.6"), Resizer::Torchvision),
            ("ViTImageProcessorPil", Some("5.23.0"), Resizer::Pillow),
        ] {
            assert_eq!(resizer(name, version), want, "{name} {version:?}");
        }
    }

    #[test]
    fn an_image_size_replaces_the_crop_and_scales_the_resize() {
        let at = |json: Value, size| {
            let transform = processor(&json, None, Some(size)).unwrap();
            (transform.resize, transform.output_size().unwrap())
        };
        let clip = json!({"image_processor_type": "CLIPImageProcessor"});
        assert_eq!(at(clip, (180, 180)), (Resize::Shortest(180), (180, 180)));
        let bit = json!({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}});
        assert_eq!(at(bit, (448, 448)), (Resize::Shortest(512), (448, 448)));
        assert_eq!(at(json!({}), (480, 320)), (Resize::Exact(480, 320), (480, 320)));
    }

    #[test]
    fn hugging_face_sizes_in_every_spelling() {
        let resize = |json: Value| processor(&json, None, None).unwrap().resize;
        assert_eq!(resize(json!({})), Resize::Exact(224, 224));
        assert_eq!(resize(json!({"size": 384})), Resize::Exact(384, 384));
        assert_eq!(resize(json!({"size": [30, 20]})), Resize::Exact(30, 20));
        assert_eq!(resize(json!({"size": {"height": 30, "width": 20}})), Resize::Exact(30, 20));
        assert_eq!(resize(json!({"image_processor_type": "BitImageProcessor", "size": 256})), Resize::Shortest(256));
        assert_eq!(resize(json!({"feature_extractor_type": "DeiTFeatureExtractor"})), Resize::Exact(256, 256));
        assert_eq!(resize(json!({"image_processor": {"size": 8}})), Resize::Exact(8, 8));
        assert_eq!(resize(json!({"do_resize": false})), Resize::None);
        let fast =
            processor(&json!({"image_processor_type": "ViTImageProcessorFast", "resample": 3}), None, None).unwrap();
        assert_eq!((fast.filter, fast.crop), (Filter::Bicubic, None));
        for bad in [
            json!({"size": 0}),
            json!({"resample": 9}),
            json!({"image_processor_type": "Other"}),
            json!({"size": "big"}),
        ] {
            assert!(processor(&bad, None, None).is_err(), "{bad}");
        }
    }
}
