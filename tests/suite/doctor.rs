//! `vit-gpu doctor`: a report in every case, and an exit code that says whether the self-check holds.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::cli::stdout;

fn doctor(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vit-gpu"));
    command.arg("doctor").args(arguments).env("VIT_GPU_CACHE", cache.path()).envs(variables.iter().copied());
    command.output().unwrap()
}

fn json(variables: &[(&str, &str)]) -> (Option<i32>, Value) {
    let output = doctor(&["-f", "json"], variables);
    (output.status.code(), serde_json::from_str(&stdout(&output)).unwrap())
}

/// Self-checks by device: precision and whether it holds.
fn checks(report: &Value) -> Vec<(String, Vec<(String, bool)>)> {
    let run = |run: &Value| (run["precision"].as_str().unwrap().to_owned(), run["ok"].as_bool().unwrap());
    let devices = report["self_check"].as_object().unwrap().iter();
    devices.map(|(name, device)| (name.clone(), device["runs"].as_array().unwrap().iter().map(run).collect())).collect()
}

#[test]
fn the_report_has_every_part_and_the_self_check_holds() {
    let output = doctor(&[], &[("VIT_GPU_TUNING", "off")]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["Program", "Machine", "Environment", "Cache", "Adapters", "Self-check"] {
        assert!(text.contains(&format!("\n\n{part}\n")), "{part}: {text}");
    }
    let version = format!("version: {}", env!("CARGO_PKG_VERSION"));
    for line in
        [version.as_str(), "can be written: yes", "auto takes: ", "f32 linear: ", "VIT_GPU_TUNING: off (vit-gpu reads"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(
        text.contains("off from the processor by at most") && text.ends_with("\nThe self-check holds.\n"),
        "{text}"
    );

    let (code, report) = json(&[]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()));
    let checks = checks(&report);
    assert!(checks.len() >= 2, "{checks:?}");
    assert_eq!(checks[0], ("cpu".into(), vec![("f32".into(), true), ("i8".into(), true)]));
    assert!(checks[1..].iter().all(|(_, runs)| !runs.is_empty() && runs.iter().all(|(_, ok)| *ok)), "{checks:?}");
}

#[test]
fn a_kernel_that_is_wrong_fails_the_self_check() {
    let (_, report) = json(&[]);
    let adapters = report["adapters"].as_object().unwrap();
    let Some(software) = adapters.values().find(|adapter| adapter["type"] == "software") else { return };
    if report["self_check"].as_object().unwrap().len() != 2 {
        return;
    }
    // Software adapters take the first kernel; on GPUs the trial would drop it.
    let first = software["kernels"]["f32"][0].as_str().unwrap().strip_prefix("linear: ").unwrap();
    let first = first.split(',').next().unwrap();
    let (code, report) = json(&[("VIT_GPU_BREAK_KERNEL", first)]);
    assert_eq!((code, &report["ok"]), (Some(1), &false.into()), "{first}: {report:#}");
    let checks = checks(&report);
    assert!(checks[0].1.iter().all(|(_, ok)| *ok) && checks[1].1.iter().all(|(_, ok)| !ok), "{checks:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_report_says_why_and_the_processor_is_checked() {
    let output = doctor(&[], &[("VK_ICD_FILENAMES", "/nonexistent")]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("auto takes: cpu: there is no Vulkan, Metal or DX12 adapter"), "{text}");
    assert!(text.contains("no GPU because: "), "{text}");
    assert!(text.contains("Vulkan driver: /nonexistent (named by VK_ICD_FILENAMES): No such file"), "{text}");
    assert!(text.contains("  cpu:\n    f32: "), "{text}");
}

#[test]
fn a_cache_that_is_off_or_cannot_be_written_is_told() {
    let (_, report) = json(&[("VIT_GPU_CACHE", "")]);
    assert!(report["cache"]["folder"].as_str().unwrap().starts_with("none"), "{report:#}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, report) = json(&[("VIT_GPU_CACHE", file.path().join("below").to_str().unwrap())]);
    assert!(report["cache"]["can be written"].as_str().unwrap().starts_with("NO ("), "{report:#}");
    assert_eq!(code, Some(0), "a cache is no need");
}

#[cfg(unix)]
#[test]
fn home_folders_are_not_named() {
    let home = tempfile::Builder::new().prefix("erika-mustermann-").tempdir().unwrap();
    let cache = Path::new(home.path()).join(".cache");
    let variables = [("HOME", home.path().to_str().unwrap()), ("VIT_GPU_CACHE", cache.to_str().unwrap())];
    for arguments in [&[][..], &["-f", "json"]] {
        let text = stdout(&doctor(arguments, &variables));
        assert!(!text.contains("mustermann") && text.contains("~/.cache"), "{text}");
    }
}
