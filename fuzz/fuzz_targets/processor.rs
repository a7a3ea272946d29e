#![no_main]
//! A processor's configuration: beside a model that takes any, and alone in a folder; applied to a small image.

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vit_gpu::Image;
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::preprocess::Transform;

const WEIGHTS: &[u8] = include_bytes!("../../tests/goldens/models/hf_dinov2_resampled/model.safetensors");
const CONFIG: &str = include_str!("../../tests/goldens/models/hf_dinov2_resampled/config.json");

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Leaves out sizes that are right and only take long.
fn apply(transform: &Transform) {
    let image = Image::from_rgb(5, 4, vec![128; 60]).unwrap();
    let large = |(h, w): (usize, usize)| (1 << 18..1 << 28).contains(&h.saturating_mul(w));
    let resized = serde_json::to_value(transform.resize).unwrap();
    let sides = resized.as_object().into_iter().flat_map(|map| map.values()).map(|value| match value {
        serde_json::Value::Array(all) => all.iter().filter_map(|n| n.as_u64()).max().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    });
    if transform.output_size().is_some_and(large) || sides.max().is_some_and(|side| (512..1 << 20).contains(&side)) {
        return;
    }
    if let Ok(pixels) = transform.apply(&image) {
        assert_eq!(pixels.data.len(), 3 * pixels.size.0 * pixels.size.1);
    }
}

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = Checkpoint::from_bytes("fuzz", WEIGHTS.to_vec(), Some(CONFIG), Some(text)) {
        apply(&checkpoint.transform);
    }
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("vit-gpu-fuzz-processor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    });
    std::fs::write(folder.join("preprocessor_config.json"), text).unwrap();
    if let Ok(transform) = Checkpoint::transform_only(folder.to_str().unwrap(), None) {
        apply(&transform);
    }
});
