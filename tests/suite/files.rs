//! The files of a model: what is none is named, shards are found, JSON is read as Python reads it.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::{Device, Image, Model, Session};

use crate::checkpoints::{changed, read_map, refused, write_model};
use crate::models::goldens;

fn open(path: &Path) -> vit_gpu::Result<Checkpoint> {
    Checkpoint::open(path.to_str().unwrap())
}

fn copy(model: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(goldens().join("models").join(model)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    fs::remove_file(folder.path().join("golden.safetensors")).unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}

#[test]
fn files_of_other_formats_are_named() {
    let (_keep, folder) = copy("hf_vit");
    let file = folder.join("model.safetensors");
    let zip = |name: &str| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap().into_inner()
    };
    let pickle = "this is a Python pickle (PyTorch's .bin, .pt or .pth), which is never read, because it can run code";
    for (bytes, expected) in [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 346293852\n".to_vec(),
            "this is a Git LFS pointer, not the weights: run git lfs pull",
        ),
        (b"<!doctype html>\n<html>404</html>".to_vec(), "this is an HTML page, not the weights"),
        (b"GGUF\x03\0\0\0\0\0\0\0".to_vec(), "this is a GGUF file, and weights are read as safetensors"),
        (b"\x08\x0a\x12\x07pytorch\x1a\x052.9.1".to_vec(), "this is an ONNX model"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), pickle),
        (zip("archive/data.pkl"), pickle),
        (b"{\n \"model_type\": \"vit\"\n}".to_vec(), "this is a JSON file, not the weights: name the folder"),
        (Vec::new(), "this is an empty file"),
    ] {
        fs::write(&file, &bytes).unwrap();
        refused(&folder, expected);
        refused(&file, expected);
    }
    refused(&folder.join("config.json"), "this is a JSON file, not the weights: name the folder");
    // A header of 640 bytes begins as a pickle does.
    let mut cut = 640u64.to_le_bytes().to_vec();
    cut.extend(b"{\"a\":");
    fs::write(&file, &cut).unwrap();
    refused(&file, "its first bytes say that the header has 640 bytes, but the file has only 13");

    fs::remove_file(&file).unwrap();
    fs::write(folder.join("model.onnx"), b"x").unwrap();
    refused(&folder, "model.onnx` is there: weights are read as safetensors");
    fs::write(folder.join("config.json"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    fs::copy(goldens().join("models/hf_vit/model.safetensors"), &file).unwrap();
    refused(&folder, "config.json: this is a Git LFS pointer, not a configuration");
}

#[test]
fn an_archive_is_told_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let source = goldens().join("models/jax_vit");
    fs::copy(source.join("vit.npz"), folder.path().join("model.safetensors")).unwrap();
    fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap_or_default();
    let named = open(&source.join("vit.npz")).unwrap();
    assert_eq!(open(folder.path()).unwrap().config, named.config);
}

#[test]
fn shards_are_found_without_an_index() {
    let (_keep, folder) = copy("hf_vit_sharded");
    fs::remove_file(folder.join("model.safetensors.index.json")).unwrap();
    let want = open(&goldens().join("models/hf_vit_sharded")).unwrap().config;
    assert_eq!(open(&folder).unwrap().config, want);
    assert_eq!(open(&folder.join("model-00002-of-00003.safetensors")).unwrap().config, want);
    // A variant beside them is another model.
    let spare = folder.join("model.fp16.safetensors");
    fs::write(&spare, b"x").unwrap();
    assert_eq!(open(&folder).unwrap().config, want);
    fs::remove_file(&spare).unwrap();

    let second = folder.join("model-00002-of-00003.safetensors");
    let bytes = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let expected = "`model-00002-of-00003.safetensors` is missing: 2 of the model's 3 files are there";
    refused(&folder, expected);
    refused(&folder.join("model-00001-of-00003.safetensors"), expected);
    fs::copy(folder.join("model-00001-of-00003.safetensors"), &second).unwrap();
    refused(&folder, "occurs twice");

    fs::write(&second, bytes).unwrap();
    for i in 1..=3 {
        let name = |stem: &str| folder.join(format!("{stem}-0000{i}-of-00003.safetensors"));
        fs::rename(name("model"), name("one")).unwrap();
        fs::copy(name("one"), name("two")).unwrap();
    }
    refused(&folder, "the folder has 6 .safetensors files (one-00001-of-00003.safetensors, ");
    assert_eq!(open(&folder.join("two-00003-of-00003.safetensors")).unwrap().config, want);
}

#[test]
fn an_adapter_without_its_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let name = "base_model.model.vit.encoder.layer.0.attention.attention.query.lora_A.weight";
    let map = [(name.to_owned(), (Dtype::F32, vec![1, 2], vec![0; 8]))].into();
    let file = folder.path().join("adapter_model.safetensors");
    write_model(&file, &map);
    refused(&file, "this is an adapter (tensor `base_model.model.vit");
    refused(folder.path(), "is merged if its adapter_config.json is beside it");
    let error = Checkpoint::from_bytes("memory", fs::read(&file).unwrap(), None, None).unwrap_err().to_string();
    assert!(
        error.starts_with("memory: this is an adapter (tensor") && error.ends_with("open the folder that it is in")
    );
}

#[test]
fn types_that_are_not_read_are_named_when_the_model_is_opened() {
    let source = goldens().join("models/hf_vit");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(source.join(file), folder.path().join(file)).unwrap();
    }
    let map = read_map(&source.join("model.safetensors"));
    for (dtype, size, expected) in [
        (
            Dtype::F8_E4M3,
            1,
            "tensor `classifier.weight` is F8_E4M3, F64, F32, F16, BF16, I64 and I32 are read; Python converts",
        ),
        (
            Dtype::I8,
            1,
            "tensor `classifier.weight` is I8, F64, F32, F16, BF16, I64 and I32 are read; a quantized model",
        ),
    ] {
        let changed: Vec<_> = map
            .iter()
            .map(|(name, (known, shape, data))| match name.as_str() {
                "classifier.weight" => (name, dtype, shape, data[..size * shape.iter().product::<usize>()].to_vec()),
                _ => (name, *known, shape, data.clone()),
            })
            .collect();
        let views = changed
            .iter()
            .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
        safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
        refused(folder.path(), expected);
    }
}

#[test]
fn json_is_read_as_python_reads_it() {
    let (_keep, folder) = copy("hf_vit");
    let want = open(&folder).unwrap();
    for name in ["config.json", "preprocessor_config.json"] {
        let file = folder.join(name);
        let text = fs::read_to_string(&file).unwrap();
        let odd = text.trim_start().trim_start_matches('{');
        // Of two keys the last counts; nobody reads the others.
        let first =
            "\u{feff}{\"hidden_size\": 7, \"do_resize\": 7, \"initializer_range\": NaN, \"_x\": [Infinity, -Infinity],";
        let first = if name == "config.json" {
            first.to_owned()
        } else {
            first.replace("\"initializer_range\": NaN,", "").replace("\"hidden_size\": 7,", "")
        };
        let first = if text.contains("do_resize") { first } else { first.replace("\"do_resize\": 7,", "") };
        fs::write(&file, first + odd).unwrap();
    }
    let got = open(&folder).unwrap();
    assert_eq!((&got.config, &got.transform), (&want.config, &want.transform));

    let (_keep, path) = changed("hf_vit", |_| {}, |_| {});
    let text = fs::read_to_string(path.join("config.json")).unwrap();
    fs::write(path.join("config.json"), text.replacen('{', "{\"layer_norm_eps\": 1, ", 1).replace("1e-12", "NaN"))
        .unwrap();
    refused(&path, "`layer_norm_eps` is \"NaN\"");
    fs::write(path.join("config.json"), "[".repeat(100_000)).unwrap();
    refused(&path, "config.json: recursion limit exceeded");
    fs::write(path.join("config.json"), "[]").unwrap();
    refused(&path, "config.json: it is not a JSON object");
}

#[test]
fn a_model_in_memory_is_the_one_in_its_folder() {
    for (model, weights) in [("hf_clip_vision", "model.safetensors"), ("jax_vit_compressed", "vit.npz")] {
        let folder = goldens().join("models").join(model);
        let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
        let (config, preprocessor) = (text("config.json"), text("preprocessor_config.json"));
        let bytes = fs::read(folder.join(weights)).unwrap();
        let got = Checkpoint::from_bytes("memory", bytes.clone(), config.as_deref(), preprocessor.as_deref()).unwrap();
        let want = Checkpoint::open(folder.join(weights).to_str().unwrap()).unwrap();
        assert_eq!(
            (&got.config, &got.transform, &got.labels),
            (&want.config, &want.transform, &want.labels),
            "{model}"
        );
        let file = fs::File::open(folder.join(weights)).unwrap();
        let read = Model::from_seekable("a file", file, config.as_deref(), preprocessor.as_deref()).unwrap();
        assert_eq!((read.name(), read.family()), ("a file", want.family));
        let images = [Image::from_rgb(9, 7, vec![50; 189]).unwrap()];
        let embed = |model: Model| Session::builder().device(Device::Cpu).build(model).unwrap().embed(&images).unwrap();
        assert_eq!(embed(read), embed(want.into()), "{model}");
        let error = Checkpoint::from_bytes("memory", bytes[..100].to_vec(), config.as_deref(), None).unwrap_err();
        assert!(error.to_string().starts_with("memory: "), "{error}");
        let error = Checkpoint::from_bytes("memory", bytes, Some("[]"), None).unwrap_err().to_string();
        assert_eq!(error, "memory (config.json): it is not a JSON object ({…})");
    }
}
