//! The choice of kernels by measurement, from the command line: tried once, remembered, and never a kernel that is wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use vit_gpu::internals::checkpoint::Tensors;

use crate::compare::{MODEL, assert_close};
use crate::device;
use crate::models::goldens;

/// The program with a golden model on the adapter under test, with portable kernels, which it tries.
fn command(cache: &Path, output: &Path) -> Command {
    let model = goldens().join("models/timm_plain");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vit-gpu"));
    command.args(["forward", "-v", "--kernels", "portable", "--device", &device::name(), "--model"]).arg(&model);
    command.arg("--input").arg(model.join("golden.safetensors")).arg("--output").arg(output);
    command.env("VIT_GPU_TUNE", "always").env("VIT_GPU_CACHE", cache);
    command
}

/// Runs it, checks its logits and gives stderr.
fn forward(cache: &Path, broken: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let mut command = command(cache, &output);
    if let Some(kernel) = broken {
        command.env("VIT_GPU_BREAK_KERNEL", kernel);
    }
    let ran = command.output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{}: {stderr}", ran.status);
    let logits = |file: &Path| Tensors::open(file).unwrap().values("logits").unwrap().1;
    let golden = goldens().join("models/timm_plain/golden.safetensors");
    assert_close("logits", &logits(&output), &logits(&golden), MODEL);
    stderr
}

/// Files in the cache whose name has this part.
fn found(cache: &Path, part: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().contains(part)).collect()
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
    assert!(found(cache.path(), ".trying-").is_empty() && found(cache.path(), ".part-").is_empty());
}

#[test]
fn a_run_that_is_killed_during_a_trial_costs_no_kernel() {
    let cache = tempfile::tempdir().unwrap();
    let output = cache.path().join("out.safetensors");
    let mut run = command(cache.path(), &output).stderr(Stdio::null()).spawn().unwrap();
    let tries = |mark: &PathBuf| std::fs::metadata(mark).is_ok_and(|data| data.len() > 0);
    while !found(cache.path(), ".trying-").iter().any(tries) {
        assert!(run.try_wait().unwrap().is_none(), "the run ended before it was seen to try a kernel");
        std::thread::sleep(Duration::from_millis(1));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let next = forward(cache.path(), None);
    assert!(!next.contains("is not used") && next.contains(" us)"), "{next}");
    assert!(found(cache.path(), ".trying-").is_empty());
}

#[test]
fn a_kernel_that_takes_the_process_down_each_time_is_dropped_at_the_second() {
    let cache = tempfile::tempdir().unwrap();
    forward(cache.path(), None);
    let [choices] = &found(cache.path(), "kernels-f32.json")[..] else { panic!("one file of choices") };
    let mut said = Vec::new();
    for _ in 0..2 {
        // What a process that died while it tried this kernel for another model leaves behind.
        let tried = r#"{"class": "linear of another model", "kernel": "linear_tile_32x32"}"#;
        std::fs::write(choices.with_extension("trying-1-0"), tried).unwrap();
        said.push(forward(cache.path(), None));
    }
    assert!(!said[0].contains("is not used"), "{}", said[0]);
    let expected =
        "the kernel linear_tile_32x32 is not used on this device: the device or the process went down 2 times";
    assert!(said[1].contains(expected), "{}", said[1]);
    assert!(!said[1].contains(": linear_tile_32x32 ("), "{}", said[1]);
}

#[test]
fn runs_at_the_same_time_drop_nothing_and_keep_each_others_choices() {
    let cache = tempfile::tempdir().unwrap();
    let said: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| forward(cache.path(), None))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let later = forward(cache.path(), None);
    for text in said.iter().chain([&later]) {
        assert!(!text.contains("is not used"), "{text}");
    }
    assert!(later.contains("(remembered)") && !later.contains(" us)"), "{later}");
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

#[test]
fn a_kernel_that_does_not_compile_is_replaced_by_the_next_and_named() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let golden = goldens().join("models/timm_plain/golden.safetensors");
    let logits = |file: &Path| Tensors::open(file).unwrap().values("logits").unwrap().1;
    // Chosen by the table, where nothing is tried before; and by measurement.
    for tune in ["off", "always"] {
        let output = folder.path().join("out.safetensors");
        let mut command = command(cache.path(), &output);
        let ran = command.env("VIT_GPU_TUNE", tune).env("VIT_GPU_FAIL_KERNEL", "linear_tile_32x32").output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success(), "{tune}: {stderr}");
        assert!(
            stderr.contains("the kernel linear_tile_32x32 is not used on this device: shader linear_tile"),
            "{stderr}"
        );
        assert_close("logits", &logits(&output), &logits(&golden), MODEL);
    }
    // The only kernel of an operation has none to replace it.
    let output = folder.path().join("out.safetensors");
    let ran = command(cache.path(), &output).env("VIT_GPU_FAIL_KERNEL", "linear_scalar").output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("shader linear_scalar"), "{stderr}");
}
