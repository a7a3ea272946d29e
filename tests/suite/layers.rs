//! Who may name whom, as ARCHITECTURE.md draws it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules of this crate it may name.
const MAY_NAME: [(&str, &[&str]); 18] = [
    ("error", &[]),
    ("device", &["error"]),
    ("ops", &["error"]),
    ("graph", &["ops", "error"]),
    ("model", &["graph", "ops", "error"]),
    ("preprocess", &["error"]),
    ("labels", &["error"]),
    ("text", &["error"]),
    ("checkpoint", &["model", "ops", "preprocess", "labels", "text", "error"]),
    ("hub", &["error"]),
    ("executor", &["graph", "ops", "error"]),
    ("cpu", &["executor", "graph", "ops", "model", "error"]),
    ("gpu", &["executor", "graph", "ops", "model", "device", "error"]),
    (
        "session",
        &[
            "checkpoint",
            "preprocess",
            "labels",
            "text",
            "model",
            "graph",
            "ops",
            "executor",
            "cpu",
            "gpu",
            "device",
            "hub",
            "error",
        ],
    ),
    ("index", &["session", "error"]),
    ("insight", &["session", "preprocess", "labels", "error"]),
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
            for family in [
                "canonical::",
                "from_scratch::",
                "huggingface::",
                "jax::",
                "meta::",
                "open_clip::",
                "timm::",
                "torchvision::",
            ] {
                assert!(!code.contains(family), "{file} names a family");
            }
        }
        assert!(text.lines().count() <= 400, "{file} has over 400 lines");
    }
}

/// Code with `a::{b, c::{d, e}}` written out as `a::b a::c::d a::c::e`.
fn spread_out(code: &str) -> String {
    let (mut out, mut prefixes, mut word) = (String::new(), vec![String::new()], String::new());
    for c in code.chars() {
        match c {
            _ if c.is_alphanumeric() || c == '_' || c == ':' => word.push(c),
            '{' if word.ends_with("::") => {
                let whole = format!("{}{word}", prefixes.last().unwrap());
                prefixes.push(whole);
                word.clear();
            }
            _ => {
                if !word.is_empty() {
                    out.extend([prefixes.last().unwrap(), word.as_str(), " "]);
                    word.clear();
                }
                match c {
                    '{' => prefixes.push(String::new()),
                    '}' if prefixes.len() > 1 => drop(prefixes.pop()),
                    _ => {}
                }
            }
        }
    }
    out
}

/// Files that a file's `use` lines and paths name, as module paths such as `gpu::tune::store`. A folder's `mod.rs`, which declares
/// the files beside it, is left out where they name it.
fn named_by(module: &str, code: &str, all: &BTreeSet<String>) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let whole = spread_out(code);
    let paths =
        whole.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter(|word| word.contains("::"));
    for path in paths {
        let mut at: Vec<&str> = module.split("::").collect();
        let mut parts = path.split("::").peekable();
        match parts.peek() {
            Some(&"crate") => at.clear(),
            Some(&"super") => {}
            _ => continue,
        }
        while let Some(&part) = parts.peek() {
            match part {
                "crate" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            parts.next();
        }
        // The longest module that the path begins with.
        let mut found = None;
        for part in parts {
            at.push(part);
            found = all.contains(&at.join("::")).then(|| at.join("::")).or(found);
        }
        named.extend(found.filter(|found| found != module && !module.starts_with(&format!("{found}::"))));
    }
    named
}

/// Whether `from` is reached again by following what files name.
fn circle(from: &str, graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for next in graph.get(at).into_iter().flatten() {
            if next == from {
                let mut way = vec![from.to_owned(), at.to_owned()];
                while let Some(previous) = before.get(way.last().unwrap().as_str()).filter(|name| **name != from) {
                    way.push((*previous).to_owned());
                }
                return Some(way);
            }
            if !before.contains_key(next.as_str()) {
                before.insert(next, at);
                open.push(next);
            }
        }
    }
    None
}

#[test]
fn no_two_files_use_each_other() {
    let module = |file: &str| file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let sources = sources();
    let all: BTreeSet<String> = sources.iter().map(|(_, file, _)| module(file)).collect();
    let graph: BTreeMap<String, BTreeSet<String>> =
        sources.iter().map(|(_, file, text)| (module(file), named_by(&module(file), product(text), &all))).collect();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 300, "the paths are not read");
    for file in graph.keys() {
        assert_eq!(circle(file, &graph), None, "{file} uses what uses it");
    }
    assert_eq!(spread_out("use a::{b, c::{d, e}}; f(g::h)").trim(), "use a::b a::c::d a::c::e f g::h");
    let ring = |a: &str, b: &str| (a.to_owned(), BTreeSet::from([b.to_owned()]));
    assert!(circle("a", &BTreeMap::from([ring("a", "b"), ring("b", "c"), ring("c", "a")])).is_some());
}
