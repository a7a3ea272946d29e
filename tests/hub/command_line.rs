//! The program with models by name: results, error lines, the list of models.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::Place;
use crate::server::{Hub, Repo};

const CAT: &str = "assets/cat.png";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A hub whose only model is the one that the program has built in.
fn place() -> Place {
    let read = |name: &str| fs::read(root().join("assets/vit-nano-cifar10").join(name)).unwrap();
    let (config, weights) = (read("config.json"), read("model.safetensors"));
    Place::new(Hub::with("a/nano", Repo::new('1', &[("config.json", &config), ("model.safetensors", &weights)])))
}

/// The program's arguments and environment for a place, and nothing of the user's own.
fn prepared(command: &mut Command, place: &Place, args: &[&str]) {
    command.args(args).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("HF_") || name.to_uppercase().ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command.env("HF_ENDPOINT", &place.hub.url).env("HF_HUB_CACHE", &place.settings.cache).env("VIT_GPU_CACHE", "");
}

pub fn run(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vit-gpu"));
    prepared(&mut command, place, args);
    command.envs(variables.iter().copied()).output().unwrap()
}

pub fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().filter(|line| !line.contains("XDG_RUNTIME_DIR")).map(|line| format!("{line}\n")).collect()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_name_is_a_model_wherever_one_is_taken() {
    let place = place();
    let args = ["classify", CAT, "-m", "a/nano@main", "-d", "cpu", "-k", "1", "-f", "jsonl"];
    let output = run(&place, &args, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&line["model"], &line["predictions"][0]["label"]), (&"a/nano@main".into(), &"cat".into()));
    // One request for a command that opens the model more than once.
    place.hub.requests();
    let tensor = place.path().join("x.safetensors");
    let tensor = tensor.to_str().unwrap();
    for args in [
        &["info", "a/nano"][..],
        &["preprocess", CAT, "-m", "a/nano", "-o", tensor],
        &["bench", "-m", "a/nano", "-d", "cpu,cpu", "--batch-size", "1", "--runs", "1", "-q"],
    ] {
        let output = run(&place, args, &[]);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        assert_eq!(place.hub.requests().len(), 1, "{args:?}");
    }
    let offline = run(&place, &["info", "a/nano"], &[("HF_HUB_OFFLINE", "1")]);
    assert!(offline.status.success() && stdout(&offline).starts_with("a/nano (timm layout"), "{}", stdout(&offline));
    assert!(place.hub.requests().is_empty());
    let unreachable =
        run(&place, &["classify", CAT, "-m", "a/nano", "-d", "cpu"], &[("HF_ENDPOINT", "http://127.0.0.1:9")]);
    assert!(unreachable.status.success(), "{}", said(&unreachable));
    assert!(said(&unreachable).starts_with("a/nano: 127.0.0.1:9 can't be reached: "), "{}", said(&unreachable));
}

#[test]
fn an_existing_path_wins_over_a_name() {
    let place = place();
    let output = run(&place, &["info", "assets/vit-nano-cifar10"], &[]);
    assert!(output.status.success(), "{}", said(&output));
    let lost = run(&place, &["info", "no/such/folder"], &[]);
    assert_eq!(lost.status.code(), Some(2));
    assert!(said(&lost).contains("no such file or folder"), "{}", said(&lost));
    assert!(place.hub.requests().is_empty());
}

#[test]
fn pull_prints_the_folder_and_errors_are_one_line() {
    let place = place();
    let output = run(&place, &["pull", "a/nano"], &[]);
    assert!(output.status.success(), "{}", said(&output));
    let folder = stdout(&output);
    assert!(Path::new(folder.trim_end()).join("model.safetensors").is_file(), "{folder}");
    assert!(said(&output).starts_with("a/nano: 2 files, 1.6 MB, commit 1111"), "{}", said(&output));
    let lost = run(&place, &["pull", "vit-bsae"], &[]);
    assert_eq!(lost.status.code(), Some(2));
    assert!(said(&lost).starts_with("error: vit-bsae: ") && said(&lost).lines().count() == 1, "{}", said(&lost));
    assert!(said(&lost).contains("short names like it are `vit-base`"), "{}", said(&lost));
    assert!(said(&lost).ends_with(": `vit-gpu models` lists the short names\n"), "{}", said(&lost));
    place.hub.put("a/old", Repo::new('1', &[("config.json", b"{}"), ("pytorch_model.bin", b"pickle")]));
    let told = said(&run(&place, &["classify", CAT, "-m", "a/old"], &[]));
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("error: a/old: it has only pickled weights"), "{told}");
    assert!(lines[1].contains("weights_only=True") && lines[2].contains("safetensors.torch.save_file("), "{told}");
    assert!(!place.tree().iter().any(|path| path.contains("pytorch_model")));
}

#[test]
fn models_lists_short_names_and_the_cache() {
    let place = place();
    let json = |place: &Place| -> Value {
        serde_json::from_str(&stdout(&run(place, &["models", "-f", "json"], &[]))).unwrap()
    };
    let before = json(&place);
    assert!(before["short_names"].as_array().unwrap().iter().all(|model| model["cached"] == false));
    assert_eq!(before["other"].as_array().unwrap().len(), 0);
    let read = |name: &str| fs::read(root().join("assets/vit-nano-cifar10").join(name)).unwrap();
    let files = [("config.json", read("config.json")), ("model.safetensors", read("model.safetensors"))];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    place.hub.put("facebook/dinov2-small", Repo::new('2', &files));
    place
        .hub
        .put("a/text", Repo::new('3', &[("config.json", br#"{"architecture": "x"}"#), ("model.safetensors", b"?")]));
    for name in ["a/nano", "dinov2-small", "a/text"] {
        assert!(run(&place, &["pull", name, "-q"], &[]).status.success());
    }
    let after = json(&place);
    let short = after["short_names"].as_array().unwrap().iter().find(|model| model["name"] == "dinov2-small").unwrap();
    assert_eq!((&short["cached"], &short["repo"]), (&true.into(), &"facebook/dinov2-small".into()));
    assert!(short["cached_bytes"].as_u64().unwrap() > 1_000_000);
    let other: Vec<_> = after["other"].as_array().unwrap().iter().map(|model| model["repo"].clone()).collect();
    assert_eq!(other, ["a/nano"], "what can't be run is not listed");
    let text = stdout(&run(&place, &["models"], &[]));
    assert!(
        text.contains("dinov2-small    facebook/dinov2-small\n") && text.contains("; in the cache, 1.6 MB\n"),
        "{text}"
    );
    let removed = run(&place, &["models", "remove", "dinov2-small"], &[]);
    assert_eq!(
        (removed.status.code(), said(&removed).as_str()),
        (Some(0), "dinov2-small: removed from the cache, 1.6 MB freed\n")
    );
    let again = run(&place, &["models", "remove", "dinov2-small"], &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).starts_with("error: dinov2-small: it is not in the cache ("), "{}", said(&again));
}

/// Root writes everywhere, so another user runs the program; where there is none to be, this is left out.
#[cfg(unix)]
#[test]
fn a_cache_that_only_others_write_to_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    place.pull("a/nano").unwrap();
    place.hub.put("c/d", Repo::new('1', &[("model.safetensors", b"weights")]));
    let program = place.path().join("vit-gpu");
    fs::copy(env!("CARGO_BIN_EXE_vit-gpu"), &program).unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(place.path(), 0o755);
    allow(&program, 0o755);
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        allow(&place.settings.cache, 0o555);
    }
    let command = |args: &[&str]| {
        let mut command = if is_root { Command::new("setpriv") } else { Command::new(&program) };
        if is_root {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        }
        prepared(&mut command, &place, args);
        command.output()
    };
    if !command(&["--version"]).is_ok_and(|output| output.status.success()) {
        eprintln!("left out: no other user can run the program here");
        return;
    }
    let read = command(&["info", "a/nano"]).unwrap();
    assert!(read.status.success(), "{}", said(&read));
    let refused = command(&["pull", "c/d"]).unwrap();
    allow(&place.settings.cache, 0o755);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).starts_with("error: ") && said(&refused).contains("Permission denied"),
        "{}",
        said(&refused)
    );
}

/// A file system of one megabyte, where this user may mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_that_is_loaded() {
    let place = place();
    let disk = place.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&disk).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: this user can't mount a small file system");
        return;
    }
    let cache = disk.join("hub");
    let variables = [("HF_HUB_CACHE", cache.to_str().unwrap())];
    let full = run(&place, &["pull", "a/nano"], &variables);
    let offline = run(&place, &["info", "a/nano"], &[variables[0], ("HF_HUB_OFFLINE", "1")]);
    let unmounted = Command::new("umount").arg(&disk).output().unwrap();
    assert!(unmounted.status.success());
    assert_eq!(full.status.code(), Some(2));
    let line = said(&full);
    assert!(line.starts_with("error: ") && line.contains(".incomplete: No space left on device"), "{line}");
    assert!(said(&offline).contains("it is not in the cache ("), "{}", said(&offline));
}
