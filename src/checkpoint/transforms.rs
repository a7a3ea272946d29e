//! Preprocessing as described by the files of a model (timm's `pretrained_cfg`, open_clip's `preprocess_cfg`), and the presets of
//! torchvision and big_vision, whose models have no such files.

use serde_json::Value;

use super::names::Names;
use crate::model::VitConfig;
use crate::preprocess::{
    Arithmetic, Crop, CropRule, Filter, IMAGENET_MEAN, IMAGENET_STD, Longest, Resize, Resizer, Transform,
};

pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
pub const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Three numbers, or one for all.
pub fn triple(value: &Value) -> Option<[f32; 3]> {
    match value.as_array().map(Vec::as_slice) {
        Some([a, b, c]) => Some([a.as_f64()? as f32, b.as_f64()? as f32, c.as_f64()? as f32]),
        Some([all]) => all.as_f64().map(|v| [v as f32; 3]),
        Some(_) => None,
        None => value.as_f64().map(|v| [v as f32; 3]),
    }
}

/// `json[name]` read by `read`, `default` where it is absent or null.
pub fn field<T>(json: &Value, name: &str, default: T, read: impl Fn(&Value) -> Option<T>) -> Result<T, String> {
    match json.get(name).filter(|value| !value.is_null()) {
        Some(value) => read(value).ok_or_else(|| format!("`{name}` is {value}")),
        None => Ok(default),
    }
}

/// timm's evaluation transform (`timm/data/transforms_factory.py`) for an image size and a `pretrained_cfg`.
pub fn timm(cfg: &Value, (h, w): (usize, usize)) -> Result<Transform, String> {
    // Without any configuration: the values of augreg, which most of timm's ViTs were trained with.
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
    Ok(Transform { resize, filter, resizer: Resizer::Pillow, crop, mean, std, arithmetic: Arithmetic::Torchvision })
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
    let (mean, std, resizer) = (IMAGENET_MEAN, IMAGENET_STD, Resizer::Pillow);
    Transform { resize, filter, resizer, crop, mean, std, arithmetic: Arithmetic::Torchvision }
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
    Ok(Transform { resize, filter, resizer: Resizer::Pillow, crop, mean, std, arithmetic: Arithmetic::Torchvision })
}

/// The usual transform of tutorials: resized to the model's size without keeping the shape, bilinear, scaled to 0…1. timm's `mean`, `std`,
/// `interpolation` and `crop_pct` are used if they are given.
pub fn plain(cfg: &Value, (h, w): (usize, usize)) -> Result<Transform, String> {
    if ["crop_pct", "crop_mode", "interpolation"].iter().any(|name| cfg.get(name).is_some()) {
        return timm(cfg, (h, w));
    }
    let mean = field(cfg, "mean", [0.0; 3], triple)?;
    let std = field(cfg, "std", [1.0; 3], triple)?;
    Ok(Transform { mean, std, ..big_vision((h, w)) })
}

/// The preprocessing that a configuration of the user's own gives, in timm's keys, if it gives any.
pub fn own(names: &Names, cfg: &VitConfig) -> Option<crate::error::Result<Transform>> {
    let keys = ["mean", "std", "interpolation", "crop_pct", "crop_mode"];
    let json = names.config.as_ref().filter(|_| keys.iter().any(|key| names.field(key).is_some()))?;
    Some(plain(json, cfg.img_size).map_err(|reason| names.config_error(reason)))
}

/// The preprocessing that timm gives the weights of vit_jax and big_vision: resized without keeping the shape, bilinear, scaled to −1…1.
///
/// The original resizes without antialiasing in TensorFlow; photos shrunk that way alias, so Pillow's filter is used.
pub fn big_vision((h, w): (usize, usize)) -> Transform {
    let (resize, filter, arithmetic) = (Resize::Exact(h, w), Filter::Bilinear, Arithmetic::Torchvision);
    Transform { resize, filter, resizer: Resizer::Pillow, crop: None, mean: [0.5; 3], std: [0.5; 3], arithmetic }
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
}
