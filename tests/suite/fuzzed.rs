//! What fuzzing came upon: an error, never a panic, and no more memory than the file accounts for.

use std::io::{Cursor, Write};

use vit_gpu::Image;
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use zip::CompressionMethod::{Deflated, Stored};

use crate::models::goldens;

/// An archive of one array of six floats. Its header has another shape, and the sizes in the archive are those of that shape.
fn claiming(shape: &str, values: u64, method: zip::CompressionMethod) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
    let mut array = b"\x93NUMPY\x01\0".to_vec();
    array.extend((text.len() as u16).to_le_bytes());
    array.extend(text.as_bytes());
    let claimed = array.len() as u64 + 4 * values;
    array.extend([0; 24]);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method).large_file(true);
    zip.start_file("a.npy", options).unwrap();
    zip.write_all(&array).unwrap();
    let mut file = zip.finish().unwrap().into_inner();
    // Large files keep their sizes in eight bytes, once before the array and once in the directory; where it is stored, its
    // packed size is the same number beside it.
    let size = (array.len() as u64).to_le_bytes();
    let places: Vec<usize> = (0..file.len() - 8).filter(|at| file[*at..at + 8] == size).collect();
    assert!(!places.is_empty());
    for at in places {
        file[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
    }
    file
}

#[test]
fn an_archive_that_claims_more_than_it_holds_takes_no_memory() {
    for method in [Stored, Deflated] {
        assert_eq!(Tensors::from_bytes("a.npz", claiming("(6,)", 6, method)).unwrap().values("a").unwrap().1, [0.0; 6]);
        for (shape, values) in [("(1152921504606846976,)", 1 << 60), ("(1073741824,)", 1 << 30), ("(400000,)", 400_000)]
        {
            let error = Tensors::from_bytes("a.npz", claiming(shape, values, method)).map(|_| ()).unwrap_err();
            assert!(error.to_string().starts_with("a.npz: array `a`: "), "{error}");
        }
    }
}

#[test]
fn values_past_the_last_are_an_error_wherever_they_begin() {
    let file = std::fs::read(goldens().join("models/hf_vit/model.safetensors")).unwrap();
    let tensors = Tensors::from_bytes("a", file).unwrap();
    let name = tensors.shapes().next().unwrap().0.to_owned();
    for first in [usize::MAX, usize::MAX - 1, usize::MAX / 4] {
        assert!(tensors.read(&name, first, &mut [0.0; 2]).unwrap_err().to_string().contains("more were asked for"));
    }
}

#[test]
fn preprocessing_to_sizes_that_no_image_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |text: &str| {
        std::fs::write(folder.path().join("preprocessor_config.json"), text).unwrap();
        Checkpoint::transform_only(folder.path().to_str().unwrap(), None)
    };
    for (kind, size) in [
        ("CLIPImageProcessor", "\"crop_size\": 2147483647"),
        ("CLIPImageProcessor", "\"crop_size\": {\"height\": 1, \"width\": 2147483647}"),
        ("ViTImageProcessor", "\"size\": 2147483647"),
        ("ViTImageProcessor", "\"size\": {\"height\": 65536, \"width\": 65536}"),
    ] {
        let error = open(&format!("{{\"image_processor_type\": \"{kind}\", {size}}}")).unwrap_err().to_string();
        assert!(error.contains("preprocessing gives images of "), "{error}");
    }
    // A shorter side of any length is one, so the image it asks for is what is refused.
    let text = "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": 2147483647}}";
    let image = Image::from_rgb(4, 3, vec![0; 36]).unwrap();
    assert!(open(text).unwrap().apply(&image).unwrap_err().is_input());
}

#[test]
fn ratios_and_sizes_beyond_any_model_are_errors() {
    for (model, key, value) in [
        ("hf_dinov2_swiglu", "mlp_ratio", "1e308"),
        ("hf_dinov2_swiglu", "mlp_ratio", "-1e308"),
        ("luc_1_5", "in_chans", "2147483647"),
    ] {
        let folder = goldens().join("models").join(model);
        let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config[key] = serde_json::from_str(value).unwrap();
        config["patch_size"] = match model {
            "luc_1_5" => serde_json::json!([2_147_483_647, 2_147_483_647]),
            _ => config["patch_size"].clone(),
        };
        let opened = Checkpoint::from_bytes("memory", weights, Some(&config.to_string()), None);
        assert!(opened.is_err(), "{model}: {key} = {value}");
    }
}
