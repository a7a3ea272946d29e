//! Preprocessing rules read from the files that come with models: timm's `pretrained_cfg`, Hugging Face's
//! `preprocessor_config.json`, torchvision's presets.

use serde_json::Value;

use super::names::{pair, size};
use crate::preprocess::{Arithmetic, Crop, CropRule, Filter, IMAGENET_MEAN, IMAGENET_STD, Longest, Resize, Transform};

const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Three numbers, or one for all.
fn triple(value: &Value) -> Option<[f32; 3]> {
    match value.as_array().map(Vec::as_slice) {
        Some([a, b, c]) => Some([a.as_f64()? as f32, b.as_f64()? as f32, c.as_f64()? as f32]),
        Some([all]) => all.as_f64().map(|v| [v as f32; 3]),
        Some(_) => None,
        None => value.as_f64().map(|v| [v as f32; 3]),
    }
}

/// `json[name]` read by `read`, `default` where it is absent or null.
fn field<T>(json: &Value, name: &str, default: T, read: impl Fn(&Value) -> Option<T>) -> Result<T, String> {
    match json.get(name).filter(|value| !value.is_null()) {
        Some(value) => read(value).ok_or_else(|| format!("`{name}` is {value}")),
        None => Ok(default),
    }
}

/// timm's evaluation transform (`timm/data/transforms_factory.py`) for an image size and a `pretrained_cfg`.
pub fn timm(cfg: &Value, (h, w): (usize, usize)) -> Result<Transform, String> {
    // augreg's values, which most timm ViTs were trained with, where there is no configuration at all.
    let bare = cfg.is_null();
    let (default_mean, default_std) = if bare { ([0.5; 3], [0.5; 3]) } else { (IMAGENET_MEAN, IMAGENET_STD) };
    let crop_pct = field(cfg, "crop_pct", if bare { 0.9 } else { 0.875 }, Value::as_f64)?;
    if !(0.01..=1.0).contains(&crop_pct) {
        return Err(format!("`crop_pct` is {crop_pct}"));
    }
    let mean = field(cfg, "mean", default_mean, triple)?;
    let std = field(cfg, "std", default_std, triple)?;
    let filter = field(cfg, "interpolation", Filter::Bicubic, |name| match name.as_str()? {
        "bicubic" => Some(Filter::Bicubic),
        "bilinear" => Some(Filter::Bilinear),
        "nearest" => Some(Filter::Nearest),
        "lanczos" => Some(Filter::Lanczos),
        "box" => Some(Filter::Box),
        "hamming" => Some(Filter::Hamming),
        _ => None,
    })?;
    let scaled = |side: usize| (side as f64 / crop_pct).floor() as usize;
    let (to_h, to_w) = (scaled(h), scaled(w));
    let mut fill = [0; 3];
    let mode = field(cfg, "crop_mode", "center".to_owned(), |mode| mode.as_str().map(str::to_owned))?;
    let resize = match mode.as_str() {
        "center" if to_h == to_w => Resize::Shortest(to_h),
        "center" => Resize::KeepRatio(to_h, to_w, Longest::No),
        "squash" => Resize::Exact(to_h, to_w),
        "border" => {
            fill = mean.map(|v| (255.0 * f64::from(v)).round_ties_even() as u8);
            Resize::KeepRatio(to_h, to_w, Longest::Yes)
        }
        other => return Err(format!("`crop_mode` is `{other}`")),
    };
    let crop = Some(Crop { size: (h, w), rule: CropRule::Torchvision, fill });
    Ok(Transform { resize, filter, crop, mean, std, arithmetic: Arithmetic::Torchvision })
}

/// torchvision's preset for a weights file, which carries none: V1 at 224 pixels, SWAG above.
pub fn torchvision((h, w): (usize, usize), large_16: bool) -> Transform {
    let v1 = (h, w) == (224, 224);
    let (resize, filter) = match v1 {
        true if large_16 => (Resize::Shortest(242), Filter::Bilinear),
        true => (Resize::Shortest(256), Filter::Bilinear),
        false => (Resize::Shortest(h.min(w)), Filter::Bicubic),
    };
    let crop = Some(Crop { size: (h, w), rule: CropRule::Torchvision, fill: [0; 3] });
    Transform { resize, filter, crop, mean: IMAGENET_MEAN, std: IMAGENET_STD, arithmetic: Arithmetic::Torchvision }
}

/// open_clip's evaluation transform (`open_clip/transform.py`) for a `preprocess_cfg`; OpenAI's where it is null.
pub fn open_clip(cfg: &Value, (h, w): (usize, usize)) -> Result<Transform, String> {
    let mean = field(cfg, "mean", CLIP_MEAN, triple)?;
    let std = field(cfg, "std", CLIP_STD, triple)?;
    let filter = field(cfg, "interpolation", Filter::Bicubic, |name| match name.as_str()? {
        "bicubic" | "random" => Some(Filter::Bicubic),
        "bilinear" => Some(Filter::Bilinear),
        _ => None,
    })?;
    let fill = field(cfg, "fill_color", 0, |v| v.as_u64().and_then(|v| u8::try_from(v).ok()))?;
    let resize =
        match field(cfg, "resize_mode", "shortest".to_owned(), |mode| mode.as_str().map(str::to_owned))?.as_str() {
            "shortest" if h == w => Resize::Shortest(h),
            "shortest" => Resize::KeepRatio(h, w, Longest::No),
            "longest" => Resize::KeepRatio(h, w, Longest::Yes),
            "squash" => Resize::Exact(h, w),
            other => return Err(format!("`resize_mode` is `{other}`")),
        };
    let crop = Some(Crop { size: (h, w), rule: CropRule::Torchvision, fill: [fill; 3] });
    Ok(Transform { resize, filter, crop, mean, std, arithmetic: Arithmetic::Torchvision })
}

/// What timm gives the weights of vit_jax and big_vision: squashed to the size, bilinear, to −1…1.
///
/// The original resizes without antialiasing in TensorFlow; photos shrunk that way alias, so Pillow's filter is used.
pub fn big_vision((h, w): (usize, usize)) -> Transform {
    let (resize, filter, arithmetic) = (Resize::Exact(h, w), Filter::Bilinear, Arithmetic::Torchvision);
    Transform { resize, filter, crop: None, mean: [0.5; 3], std: [0.5; 3], arithmetic }
}

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

/// A Hugging Face image processor as transformers 4 runs it on Pillow images: resize, crop, rescale, normalise.
///
/// With `image_size`, its result has that size: the crop, or the resize where there is no crop; a resize before a crop keeps
/// its ratio to the crop's size.
pub fn hugging_face(json: &Value, image_size: Option<(usize, usize)>) -> Result<Transform, String> {
    // processor_config.json nests it.
    let json = json.get("image_processor").filter(|inner| inner.is_object()).unwrap_or(json);
    let name = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = name("image_processor_type")
        .or_else(|| name("feature_extractor_type").map(|old| old.replace("FeatureExtractor", "ImageProcessor")))
        .unwrap_or_else(|| "ViTImageProcessor".to_owned());
    let plain = kind.trim_end_matches("Fast").trim_end_matches("Pil");
    let defaults = defaults(plain).ok_or_else(|| format!("image_processor_type `{kind}` is not supported"))?;

    let switch = |key: &str, default: bool| field(json, key, default, Value::as_bool);
    let resize = if switch("do_resize", true)? {
        resize_rule(json.get("size").filter(|size| !size.is_null()).unwrap_or(&defaults.size), defaults.shortest)?
    } else {
        Resize::None
    };
    let filter = field(json, "resample", defaults.filter, |number| Filter::from_pillow(number.as_u64()?))?;
    let crop = if switch("do_center_crop", defaults.crop)? {
        let size = field(json, "crop_size", (224, 224), height_width)?;
        Some(Crop { size, rule: CropRule::HuggingFace, fill: [0; 3] })
    } else {
        None
    };
    let rescale = if switch("do_rescale", true)? {
        Some(field(json, "rescale_factor", 1.0 / 255.0, Value::as_f64)?)
    } else {
        None
    };
    let normalize = switch("do_normalize", true)?;
    let (resize, crop) = match image_size {
        Some(size) => sized(resize, crop, size),
        None => (resize, crop),
    };
    let mean = field(json, "image_mean", defaults.mean, triple)?;
    let std = field(json, "image_std", defaults.std, triple)?;
    Ok(Transform { resize, filter, crop, mean, std, arithmetic: Arithmetic::HuggingFace { rescale, normalize } })
}

/// The same steps for another result.
fn sized(resize: Resize, crop: Option<Crop>, size: (usize, usize)) -> (Resize, Option<Crop>) {
    let Some(crop) = crop else { return (Resize::Exact(size.0, size.1), None) };
    let scaled = |n: usize, from: usize, to: usize| (n as f64 * to as f64 / from.max(1) as f64).round() as usize;
    let resize = match resize {
        Resize::Shortest(n) => Resize::Shortest(scaled(n, crop.size.0.min(crop.size.1), size.0.min(size.1))),
        Resize::Exact(h, w) => Resize::Exact(scaled(h, crop.size.0, size.0), scaled(w, crop.size.1, size.1)),
        other => other,
    };
    (resize, Some(Crop { size, ..crop }))
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
    fn timm_rules_follow_crop_pct_and_mode() {
        let rule = |cfg: Value, size| timm(&cfg, size).unwrap().resize;
        assert_eq!(rule(json!({"crop_pct": 0.9}), (224, 224)), Resize::Shortest(248));
        assert_eq!(rule(json!({}), (224, 224)), Resize::Shortest(256));
        assert_eq!(rule(json!({"crop_pct": 1.0, "crop_mode": "squash"}), (224, 160)), Resize::Exact(224, 160));
        assert_eq!(rule(json!({"crop_pct": 0.9}), (224, 160)), Resize::KeepRatio(248, 177, Longest::No));
        let border = timm(&json!({"crop_mode": "border", "mean": [0.5, 0.0, 1.0]}), (32, 32)).unwrap();
        assert_eq!(border.crop.unwrap().fill, [128, 0, 255]);
        for bad in [
            json!({"crop_pct": 0}),
            json!({"crop_mode": "odd"}),
            json!({"mean": [1, 2]}),
            json!({"interpolation": "x"}),
        ] {
            assert!(timm(&bad, (224, 224)).is_err(), "{bad}");
        }
    }

    #[test]
    fn hugging_face_sizes_in_every_spelling() {
        let resize = |json: Value| hugging_face(&json, None).unwrap().resize;
        assert_eq!(resize(json!({})), Resize::Exact(224, 224));
        assert_eq!(resize(json!({"size": 384})), Resize::Exact(384, 384));
        assert_eq!(resize(json!({"size": [30, 20]})), Resize::Exact(30, 20));
        assert_eq!(resize(json!({"size": {"height": 30, "width": 20}})), Resize::Exact(30, 20));
        assert_eq!(resize(json!({"image_processor_type": "BitImageProcessor", "size": 256})), Resize::Shortest(256));
        assert_eq!(resize(json!({"feature_extractor_type": "DeiTFeatureExtractor"})), Resize::Exact(256, 256));
        assert_eq!(resize(json!({"image_processor": {"size": 8}})), Resize::Exact(8, 8));
        assert_eq!(resize(json!({"do_resize": false})), Resize::None);
        let fast =
            hugging_face(&json!({"image_processor_type": "ViTImageProcessorFast", "resample": 3}), None).unwrap();
        assert_eq!((fast.filter, fast.crop), (Filter::Bicubic, None));
        for bad in [
            json!({"size": 0}),
            json!({"resample": 9}),
            json!({"image_processor_type": "Other"}),
            json!({"size": "big"}),
        ] {
            assert!(hugging_face(&bad, None).is_err(), "{bad}");
        }
    }
}
