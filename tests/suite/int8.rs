//! `--precision i8`: the processor's eight-bit products.

use serde_json::Value;
use vit_gpu::internals::device::Kernels;
use vit_gpu::{Device, Precision, Session};

use crate::cli::{fails, run, stdout};
use crate::compare::distance;
use crate::device;
use crate::models::{golden, models, open};

/// Every output within five percent of PyTorch's f32, as a vector, whatever the threads. The goldens are 16 to 64 channels
/// wide, so that fewer errors cancel than in real models, which `verify` holds to two.
#[test]
fn every_golden_in_i8() {
    for folder in models() {
        let checkpoint = open(&folder);
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let session = |threads| {
            let (device, precision, kernels) = (Device::Cpu, Precision::I8, Kernels::Auto);
            let builder = Session::builder().device(device).precision(precision).kernels(kernels).threads(threads);
            builder.build(checkpoint.clone()).unwrap()
        };
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let outputs = session(1).forward(&pixels, true).unwrap();
        let mut most = 0.0f64;
        for output in &outputs.0 {
            let (_, want) = golden(&folder, &output.name).unwrap();
            most = most.max(distance(&output.values, &want).unwrap_or_else(|e| panic!("{name}: {e}")));
        }
        println!("{name:34} worst distance {most:.1e}");
        assert!(most < 5e-2 && most > 1e-5, "{name}: off by {most:e}");
        assert_eq!(session(7).forward(&pixels, true).unwrap(), outputs, "{name}: threads change the result");
    }
}

#[test]
fn it_is_asked_for_on_the_processor_and_reported() {
    for device in ["auto", "cpu"] {
        let output = run(&["classify", "assets/cat.png", "-d", device, "--precision", "i8", "-f", "json"]);
        let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let said = ["device", "precision"].map(|key| json[0][key].as_str().unwrap().to_owned());
        assert_eq!(said, ["cpu", "i8"]);
        assert_eq!(json[0]["predictions"][0]["label"], "cat");
    }
    let adapter = device::name();
    fails(
        &["classify", "assets/cat.png", "-d", &adapter, "--precision", "i8"],
        2,
        "use --device cpu, or --precision f32",
    );
    fails(&["classify", "assets/cat.png", "--precision", "i4"], 2, "unknown precision `i4`: f32, f16 or i8");
}

#[test]
fn bench_times_it_and_names_no_limit() {
    let output =
        run(&["bench", "-d", "cpu", "--precision", "i8", "--runs", "1", "--batch-size", "1", "-f", "json", "-q"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&json["agreed"], &json["results"][0]["precision"]), (&true.into(), &"i8".into()));
    assert!(json["results"][0]["median_ms"].as_f64().unwrap() > 0.0 && json["results"][0]["peak_share"].is_null());
}

#[test]
fn verify_holds_it_to_f32() {
    let output = run(&["verify", "-d", "cpu", "-f", "json", "-q"]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let text = json.to_string();
    assert!(text.contains("\"i8\"") && text.contains("logits"), "{text}");
    for wrong in [&["--precision", "f32"][..], &["--kernels", "portable"]] {
        fails(&[&["verify", "-d", "cpu"], wrong].concat(), 2, "the reference is the processor's f32");
    }
    let output = run(&["verify", "-d", "auto", "--precision", "i8", "-f", "json", "-q"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&json["device"], json["runs"].as_array().map(Vec::len)), (&"cpu".into(), Some(1)));
}
