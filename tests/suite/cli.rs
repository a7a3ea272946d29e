//! The program as a user runs it: what it prints, where, and how it exits.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vit_gpu::internals::checkpoint::Tensors;

use crate::compare::{EXACT, assert_close, missing};
use crate::device;
use crate::models::goldens;

const CAT: &str = "assets/cat.png";

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vit-gpu"));
    // The defaults of whoever runs the tests are not read.
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env("VIT_GPU_CONFIG", "");
    command
}

pub fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Our own lines on stderr; Vulkan layers may add theirs.
fn errors(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines().filter(|line| !line.contains("XDG_RUNTIME_DIR")).map(str::to_owned).collect()
}

#[track_caller]
pub fn fails(args: &[&str], code: i32, expected: &str) {
    let output = run(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {:?}", errors(&output));
    let lines = errors(&output);
    let own: Vec<_> = lines.iter().filter(|line| line.starts_with("error: ")).collect();
    assert!(own.len() == 1 && own[0].contains(expected), "{args:?}: {lines:?}");
}

#[test]
fn classify_names_the_cat_on_the_processor_and_on_the_adapter() {
    let mut scores = Vec::new();
    for device in ["cpu", &device::name()] {
        let output = run(&["classify", CAT, "--device", device, "--format", "json"]);
        assert!(output.status.success(), "{:?}", errors(&output));
        let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let result = &json[0];
        assert_eq!(result["image"], CAT);
        assert_eq!(result["predictions"][0]["label"], "cat");
        assert_eq!(result["predictions"][0]["index"], 3);
        assert_eq!(result["predictions"].as_array().unwrap().len(), 5);
        assert_eq!((&result["precision"], &result["model"]), (&"f32".into(), &"vit-nano-cifar10".into()));
        assert_eq!(result["device"] == "cpu", device == "cpu");
        scores.push(
            result["predictions"].as_array().unwrap().iter().map(|p| p["score"].as_f64().unwrap()).collect::<Vec<_>>(),
        );
    }
    for (a, b) in scores[0].iter().zip(&scores[1]) {
        assert!((a - b).abs() < 1e-3, "{scores:?}");
    }
}

#[test]
fn text_output_is_what_the_readme_shows() {
    let output = run(&["classify", CAT, "-d", "cpu", "-k", "3"]);
    assert_eq!(stdout(&output), "assets/cat.png\n   61.8 %  cat\n   16.7 %  dog\n    7.5 %  deer\n");
    assert!(errors(&output).is_empty());
}

#[test]
fn a_bad_image_among_good_ones_is_reported_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(CAT), folder.path().join("b.PNG")).unwrap();
    fs::write(folder.path().join("a.png"), "this is text").unwrap();
    fs::write(folder.path().join("notes.txt"), "not looked at").unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::copy(folder.path().join("b.PNG"), folder.path().join("below/c.png")).unwrap();
    let folder = folder.path().to_str().unwrap();

    let output = run(&["classify", folder, "-d", "cpu", "-f", "jsonl", "-k", "99", "--batch-size", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["image"].as_str().unwrap().strip_prefix(folder).unwrap().replace('\\', "/"))
        .collect();
    assert_eq!(names, ["/a.png", "/b.PNG", "/below/c.png"]);
    assert!(lines[0]["error"].as_str().unwrap().contains("not an image in a supported format"));
    assert_eq!(lines[1]["predictions"].as_array().unwrap().len(), 10, "top-k is clamped");
    assert_eq!(lines[1]["predictions"], lines[2]["predictions"]);

    let output = run(&["classify", folder, "-d", "cpu", "-f", "csv", "-k", "1"]);
    let text = stdout(&output);
    let rows: Vec<_> = text.lines().collect();
    assert_eq!(rows[0], "image,rank,index,label,score,error");
    assert!(rows[1].contains("a.png,,,,,") && rows[2].contains("b.PNG,1,3,cat,0.618"), "{rows:?}");
    let all: Value = serde_json::from_str(&stdout(&run(&["classify", folder, "-d", "cpu", "-f", "json"]))).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3);
}

#[test]
fn an_image_comes_from_standard_input() {
    let mut child = command(&["classify", "-", "-d", "cpu", "-k", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let cat = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(CAT)).unwrap();
    child.stdin.take().unwrap().write_all(&cat).unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), "-\n   61.8 %  cat\n");
}

#[test]
fn mistakes_are_one_line_with_the_right_exit_code() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    let text = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
    fs::write(text.path(), "text").unwrap();
    fails(&["classify", text.path().to_str().unwrap(), "-d", "cpu", "-q"], 1, "not an image in a supported format");
    fails(&["classify", "none.png", "-d", "cpu", "-q"], 1, &format!("none.png: {}", missing("none.png")));
    fails(&["classify", empty], 2, "no images in this folder");
    fails(&["classify", CAT, "--device", "Quantum 9000"], 2, "no adapter's name contains it");
    fails(&["classify", CAT, "--model", empty], 2, "the folder has no .safetensors file");
    fails(&["classify", CAT, "--model", "no/such/model"], 2, "no such file or folder");
    fails(&["classify", CAT, "--model", CAT], 2, "this is an image, and weights are read as safetensors or .npz");
    fails(
        &["classify", CAT, "-d", "cpu", "-m", goldens().join("models/hf_vit_pooler").to_str().unwrap()],
        2,
        "no classification head",
    );
    fails(&["embed", CAT, "-o", "x.txt", "-d", "cpu"], 2, "--output must end in .npy");
    for usage in [
        &["classify", CAT, "--top-k", "0"][..],
        &["classify"],
        &["classify", CAT, "--precision", "f64"],
        &["bench", "--batch-size", "0"],
        &["nonsense"],
        &["classify", CAT, "--batch-size", "0"],
    ] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn forward_of_preprocess_is_classify() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert!(run(&["preprocess", CAT, "-o", &file("x.safetensors")]).status.success());
    assert!(
        run(&["forward", "-i", &file("x.safetensors"), "-o", &file("y.safetensors"), "--taps", "-d", "cpu"])
            .status
            .success()
    );
    let outputs = Tensors::open(&folder.path().join("y.safetensors")).unwrap();
    let (shape, logits) = outputs.values("logits").unwrap();
    assert_eq!(shape, [1, 10]);
    assert_eq!(outputs.values("hidden_states.6").unwrap().0, [1, 65, 128]);
    assert_eq!(outputs.values("last_hidden_state").unwrap().0, [1, 65, 128]);
    let json: Value =
        serde_json::from_str(&stdout(&run(&["classify", CAT, "-d", "cpu", "-f", "json", "-k", "1"]))).unwrap();
    let score = vit_gpu::internals::labels::softmax(&logits)[3];
    assert_eq!(json[0]["predictions"][0]["score"].as_f64().unwrap() as f32, score);
    fails(
        &["forward", "-i", &file("y.safetensors"), "-o", &file("z.safetensors"), "-d", "cpu"],
        2,
        "tensor `pixel_values` is missing",
    );
}

#[test]
fn embeddings_are_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.png");
    fs::write(&bad, "text").unwrap();
    let bad = bad.to_str().unwrap();
    let json = run(&["embed", CAT, bad, "-d", "cpu"]);
    assert_eq!(json.status.code(), Some(1));
    let lines: Vec<Value> = stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let want: Vec<f32> = lines[0]["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    assert_eq!((want.len(), lines.len()), (128, 2));
    assert!(lines[1]["error"].is_string());

    let rows = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    for ending in ["npy", "npz", "safetensors", "jsonl"] {
        let path = folder.path().join(format!("out.{ending}"));
        assert_eq!(run(&["embed", CAT, bad, "-d", "cpu", "-o", path.to_str().unwrap()]).status.code(), Some(1));
        let bytes = fs::read(&path).unwrap();
        let tail = |bytes: &[u8]| rows(&bytes[bytes.len() - 2 * 128 * 4..]);
        let values = match ending {
            "npy" | "safetensors" => tail(&bytes),
            "npz" => {
                let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
                let mut member = Vec::new();
                std::io::Read::read_to_end(&mut zip.by_name("embeddings.npy").unwrap(), &mut member).unwrap();
                assert!(zip.by_name("images.npy").is_ok());
                tail(&member)
            }
            _ => {
                assert_eq!(bytes, json.stdout);
                continue;
            }
        };
        assert_close(ending, &values[..128], &want, EXACT);
        assert!(values[128..].iter().all(|v| v.is_nan()), "a failed image's row is NaN");
    }
}

#[test]
fn embeddings_of_tokens_and_patches_and_of_length_1() {
    let rows = |args: &[&str]| -> Value {
        serde_json::from_str(&stdout(&run(&[&["embed", CAT, "-d", "cpu"], args].concat()))).unwrap()
    };
    let pooled = rows(&[])["embedding"].clone();
    let tokens = rows(&["--of", "tokens"])["embedding"].clone();
    let patches = rows(&["--of", "patches"])["embedding"].clone();
    assert_eq!(tokens.as_array().unwrap().len(), 65);
    // The bundled model pools the class token of the last hidden state.
    assert_eq!(tokens[0], pooled);
    assert_eq!((patches.as_array().unwrap().len(), &patches[0][1], &patches[7][7]), (8, &tokens[2], &tokens[64]));
    let first = rows(&["--of", "tokens", "--layer", "0"])["embedding"].clone();
    assert_ne!(first[0], tokens[0]);
    let unit = rows(&["--normalize"])["embedding"].clone();
    let (pooled, unit): (Vec<f64>, Vec<f64>) =
        (serde_json::from_value(pooled).unwrap(), serde_json::from_value(unit).unwrap());
    let length = pooled.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!(pooled.iter().zip(&unit).all(|(p, u)| (p / length - u).abs() < 1e-6));
    fails(&["embed", CAT, "--layer", "3"], 2, "--layer needs --of tokens");
    fails(&["embed", CAT, "--of", "tokens", "--layer", "7", "-d", "cpu"], 2, "hidden states 0 to 6");
}

#[test]
fn models_run_at_other_image_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let to = path.to_str().unwrap();
    for (model, size, shape) in [
        ("models/hf_vit_resampled", "48x32", [1, 3, 48, 32]),
        ("models/hf_dinov2_registers", "32", [1, 3, 32, 32]),
        ("models/timm_plain", "24x40", [1, 3, 24, 40]),
        ("models/torchvision", "40", [1, 3, 40, 40]),
    ] {
        let model = goldens().join(model);
        let model = model.to_str().unwrap();
        assert!(run(&["preprocess", CAT, "-m", model, "--image-size", size, "-o", to]).status.success(), "{model}");
        let (written, _) = Tensors::open(&path).unwrap().values("pixel_values").unwrap();
        assert_eq!(written, shape, "{model}");
        let json = stdout(&run(&["classify", CAT, "-m", model, "--image-size", size, "-d", "cpu", "-f", "json"]));
        assert!(json.contains("predictions"), "{model}: {json}");
    }
    // transformers takes every table for a square one.
    let oblong = goldens().join("models/hf_vit");
    let oblong = ["classify", CAT, "--image-size", "48x32", "-m", oblong.to_str().unwrap()];
    fails(
        &oblong,
        2,
        "can't resample the position table for 48x32, because it treats the table as square and 24 is not a square number",
    );
    fails(&["classify", CAT, "--image-size", "big"], 2, "expected H or HxW");
    fails(&["classify", CAT, "--image-size", "2"], 2, "can't be cut into patches of 4x4");
    let text = stdout(&run(&["info", "random:vit_base_patch16_224", "--image-size", "384"]));
    assert!(text.contains("24x24 and 1 prefix tokens") && text.contains("86,859,496 parameters"), "{text}");
}

#[test]
fn forward_gives_the_loss_of_labels() {
    let golden = goldens().join("models/enc_batch_first");
    let (input, model) = (golden.join("golden.safetensors"), golden.join("model.safetensors"));
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("y.safetensors");
    let args = [
        "forward",
        "-d",
        "cpu",
        "-i",
        input.to_str().unwrap(),
        "-o",
        output.to_str().unwrap(),
        "-m",
        model.to_str().unwrap(),
    ];
    assert!(run(&args).status.success());
    let (_, got) = Tensors::open(&output).unwrap().values("loss").unwrap();
    let (_, want) = Tensors::open(&input).unwrap().values("loss").unwrap();
    assert!(got.len() == 1 && (got[0] - want[0]).abs() < 1e-5, "{got:?}, PyTorch says {want:?}");
}

#[test]
fn info_counts_what_pytorch_counts() {
    let text = stdout(&run(&["info", "random:vit_base_patch16_224"]));
    assert!(text.contains("86,567,656 parameters"), "{text}");
    assert!(text.contains("blocks.11.mlp.fc2 (Linear)"), "{text}");
    // What torchsummary prints of this model, and what it leaves out.
    assert!(text.contains("86,415,592 in layers"), "{text}");
    assert!(text.contains("768 in prefix tokens, 151,296 in positions, 0 in other"), "{text}");
    let text = stdout(&run(&["info", goldens().join("models/hf_vit").to_str().unwrap()]));
    assert!(text.contains("huggingface-vit layout") && text.contains("3 heads of 12"), "{text}");
}

#[test]
fn devices_lists_adapters_and_explains_auto() {
    let json: Value = serde_json::from_str(&stdout(&run(&["devices", "-f", "json"]))).unwrap();
    let adapters = json["adapters"].as_array().unwrap();
    assert!(!adapters.is_empty() && json["reason"].is_string());
    for key in ["name", "type", "backend", "driver", "f16", "subgroups", "cooperative_matrix", "max_binding_bytes"] {
        assert!(adapters[0].get(key).is_some(), "{key}");
    }
    let text = stdout(&run(&["devices"]));
    assert!(text.contains(adapters[0]["name"].as_str().unwrap()) && text.contains("auto takes "), "{text}");
}

#[test]
fn bench_reports_each_device_and_batch() {
    let devices = format!("cpu,{}", device::name());
    let output = run(&["bench", "-d", &devices, "--batch-size", "1,3", "--runs", "2", "-f", "json", "-q"]);
    assert!(output.status.success(), "{:?}", errors(&output));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let results = json["results"].as_array().unwrap();
    let batches: Vec<_> = results.iter().map(|r| r["batch"].as_u64().unwrap()).collect();
    assert_eq!(batches, [1, 3, 1, 3]);
    for result in results {
        let (ms, rate) = (result["median_ms"].as_f64().unwrap(), result["images_per_s"].as_f64().unwrap());
        assert!(ms > 0.0 && (rate * ms / 1e3 - result["batch"].as_f64().unwrap()).abs() < 1e-6, "{result}");
    }
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let mut child = command(&["classify", CAT, CAT, CAT, "-d", "cpu", "--batch-size", "1", "-f", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn half_precision_is_asked_for_and_reported() {
    fails(
        &["classify", CAT, "-d", "cpu", "--precision", "f16"],
        2,
        "cpu: it can't compute in f16, only in f32 or i8: use --precision f32 or i8",
    );
    fails(&["classify", CAT, "--kernels", "fast"], 2, "unknown kernels `fast`");
    fails(&["classify", CAT, "-d", &device::name(), "--kernels", "matrix"], 2, "--precision f16");
    let output = run(&["classify", CAT, "-d", &device::name(), "--precision", "f16", "-f", "json"]);
    if !output.status.success() {
        assert!(errors(&output).iter().any(|line| line.contains("can't compute in f16")), "{:?}", errors(&output));
        return;
    }
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&json[0]["precision"], &json[0]["predictions"][0]["label"]), (&"f16".into(), &"cat".into()));
}

#[test]
fn verify_passes_and_names_the_layer_a_broken_kernel_spoils() {
    let model = goldens().join("models/timm_plain");
    let device = device::name();
    let args = ["verify", "-m", model.to_str().unwrap(), "-d", &device, "--kernels", "portable", "-f", "json", "-q"];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{:?}", errors(&output));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&json["ok"], &json["images"]), (&true.into(), &2.into()));
    for run in json["runs"].as_array().unwrap() {
        assert_eq!((&run["stable"], &run["top1_agreement"]), (&true.into(), &1.0.into()), "{run}");
        assert_eq!(run["outputs"].as_array().unwrap().len(), 6, "{run}");
    }
    // Kernels are pinned, so the tuner does not save us.
    let broken = command(&args).env("VIT_GPU_BREAK_KERNEL", "attention_tile_8").output().unwrap();
    assert_eq!(broken.status.code(), Some(1), "{:?}", errors(&broken));
    let json: Value = serde_json::from_str(&stdout(&broken)).unwrap();
    assert_eq!((&json["ok"], &json["runs"][0]["first_breach"]), (&false.into(), &"hidden_states.1".into()));
}

#[test]
fn bench_shows_start_limits_and_where_the_time_goes() {
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("where.svg");
    let devices = format!("{},cpu", device::name());
    let args = ["bench", "-d", &devices, "--batch-size", "2", "--runs", "3", "-f", "json", "-q", "--images", "assets"];
    let output = command(&args).arg("--chart").arg(&chart).output().unwrap();
    assert!(output.status.success(), "{:?}", errors(&output));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["agreed"], true);
    for device in json["devices"].as_array().unwrap() {
        for key in ["open_ms", "first_result_ms", "peak_gflop_per_s", "peak_gb_per_s", "files_images_per_s"] {
            assert!(device[key].as_f64().unwrap() > 0.0, "{key}: {device}");
        }
    }
    let result = &json["results"][0];
    let [p10, median, p90] = ["p10_ms", "median_ms", "p90_ms"].map(|key| result[key].as_f64().unwrap());
    assert!(0.0 < p10 && p10 <= median && median <= p90, "{result}");
    assert!(result["peak_share"].as_f64().unwrap() > 0.0, "{result}");
    // Adapters without timestamps give null, and no chart.
    if let Some(kinds) = result["per_op"].as_array() {
        let qkv = kinds.iter().find(|kind| kind["operation"] == "blocks.*.attn.qkv").unwrap();
        assert_eq!(qkv["count"], 6);
        assert!(qkv["ms"].as_f64().unwrap() > 0.0 && qkv["gflop_per_s"].as_f64().unwrap() > 0.0, "{qkv}");
        assert!(fs::read_to_string(&chart).unwrap().contains("blocks.*.attn.qkv"));
    }
    assert!(json["results"][1]["per_op"].is_null());
}
