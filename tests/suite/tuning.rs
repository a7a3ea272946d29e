//! The choice of kernels by measurement, from the command line: tried once, remembered, and never a kernel that is wrong.

use std::path::Path;
use std::process::Command;

use vit_gpu::internals::checkpoint::Tensors;

use crate::compare::{MODEL, assert_close};
use crate::device;
use crate::models::goldens;

/// Runs a golden model on the adapter under test with portable kernels, checks its logits and gives stderr.
fn forward(cache: &Path, broken: Option<&str>) -> String {
    let model = goldens().join("models/timm_plain");
    let output = cache.join("out.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vit-gpu"));
    command.args(["forward", "-v", "--kernels", "portable", "--device", &device::name(), "--model"]).arg(&model);
    command.arg("--input").arg(model.join("golden.safetensors")).arg("--output").arg(&output);
    command.env("VIT_GPU_TUNE", "always").env("VIT_GPU_CACHE", cache);
    if let Some(kernel) = broken {
        command.env("VIT_GPU_BREAK_KERNEL", kernel);
    }
    let ran = command.output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{}: {stderr}", ran.status);
    let logits = |file: &Path| Tensors::open(file).unwrap().values("logits").unwrap().1;
    assert_close("logits", &logits(&output), &logits(&model.join("golden.safetensors")), MODEL);
    stderr
}

#[test]
fn kernels_are_tried_once_and_remembered() {
    let cache = tempfile::tempdir().unwrap();
    let first = forward(cache.path(), None);
    let line = |text: &str| text.lines().filter(|line| line.starts_with("kernel for ")).count();
    assert_eq!(line(&first), 6, "{first}");
    assert!(first.contains(" us)") && !first.contains("(remembered)"), "{first}");
    let second = forward(cache.path(), None);
    assert!(second.contains("(remembered)") && !second.contains(" us)"), "{second}");
    // What is on disk may be lost or broken at any time.
    for entry in std::fs::read_dir(cache.path()).unwrap() {
        std::fs::write(entry.unwrap().path(), "no longer what it was").unwrap();
    }
    assert!(forward(cache.path(), None).contains(" us)"));
}

#[test]
fn a_kernel_that_is_wrong_is_dropped_and_named() {
    let cache = tempfile::tempdir().unwrap();
    for kernel in ["linear_tile_32x32", "attention_tile_8"] {
        let said = forward(cache.path(), Some(kernel));
        assert!(said.contains(&format!("the kernel {kernel} is not used on this device: element ")), "{said}");
        assert!(!said.contains(&format!(": {kernel} (")), "{said}");
    }
    // And a kernel broken on purpose is not remembered as broken.
    assert!(!forward(cache.path(), None).contains("is not used"));
}
