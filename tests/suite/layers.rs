//! Who may name whom, as ARCHITECTURE.md draws it.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules of this crate it may name.
const MAY_NAME: [(&str, &[&str]); 14] = [
    ("error", &[]),
    ("device", &["error"]),
    ("ops", &["error"]),
    ("graph", &["ops", "error"]),
    ("model", &["graph", "ops", "error"]),
    ("preprocess", &["error"]),
    ("labels", &["error"]),
    ("checkpoint", &["model", "ops", "preprocess", "labels", "error"]),
    ("executor", &["graph", "ops", "error"]),
    ("cpu", &["executor", "graph", "ops", "model", "error"]),
    ("gpu", &["executor", "graph", "ops", "model", "device", "error"]),
    (
        "session",
        &["checkpoint", "preprocess", "labels", "model", "graph", "ops", "executor", "cpu", "gpu", "device", "error"],
    ),
    ("lib", &["session"]),
    ("main", &[]),
];

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            let module = relative.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            (module, relative, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The part of a file that is compiled into the product.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn modules_name_only_what_they_may() {
    let modules: Vec<&str> = MAY_NAME.iter().map(|(name, _)| *name).collect();
    for (module, file, text) in sources().iter().filter(|(module, ..)| module != "cli") {
        let (_, allowed) = MAY_NAME
            .iter()
            .find(|(name, _)| name == module)
            .unwrap_or_else(|| panic!("{file}: a module without a line here"));
        for other in modules.iter().filter(|other| *other != module && !allowed.contains(other)) {
            assert!(!product(text).contains(&format!("crate::{other}")), "{file} names {other}");
        }
    }
}

#[test]
fn wgpu_printing_and_families_stay_where_they_belong() {
    for (module, file, text) in sources() {
        let code: String =
            product(&text).lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        if module != "gpu" {
            assert!(!code.contains("wgpu::"), "{file} names wgpu");
        }
        if module != "cli" {
            for print in ["println!", "print!", "dbg!"] {
                assert!(!code.contains(print), "{file} prints");
            }
        }
        if module != "checkpoint" {
            for family in ["huggingface::", "timm::", "torchvision::"] {
                assert!(!code.contains(family), "{file} names a family");
            }
        }
        assert!(text.lines().count() <= 400, "{file} has over 400 lines");
    }
}
