//! Folders as they have grown: what is read, what is left out, and what is said of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::cli::{run, stdout};

fn cat(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(crate::device::root().join("assets/cat.png"), path).unwrap();
}

/// Names of the images, as JSON lines give them, without the folder; those with an error have `!` in front.
fn images(output: &Output, folder: &str) -> Vec<String> {
    let lines = stdout(output);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let name = |line: Value| {
        let name = line["image"].as_str().unwrap().strip_prefix(folder).unwrap().trim_start_matches('/').to_owned();
        if line["error"].is_string() { format!("!{name}") } else { name }
    };
    lines.map(name).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_ending_is_read_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for name in ["a.PNG", "b/c.jfif", "b/d.jpe", "b/e.mpo", "b/f.apng", ".hidden.png", ".folder/g.png"] {
        cat(&folder.path().join(name));
    }
    for name in ["x.cr2", "b/y.CR2", "z.txt", "none"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let common = ["classify", root, "-d", "cpu", "-k", "1", "-f", "jsonl"];
    let output = run(&common);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(images(&output, root), ["a.PNG", "b/c.jfif", "b/d.jpe", "b/e.mpo", "b/f.apng"]);
    assert!(said(&output).contains("4 files were skipped: 2 .cr2, 1 .txt, 1 without an ending"), "{}", said(&output));
    assert!(!said(&output).contains("skipped: /"));
    let told = said(&run(&[&common[..], &["-v"]].concat()));
    assert!(
        ["x.cr2", "b/y.CR2", "z.txt"].iter().all(|name| told.contains(&format!("skipped: {root}/{name}"))),
        "{told}"
    );
    assert!(!said(&run(&[&common[..], &["-q"]].concat())).contains("skipped"));
    let all = images(&run(&[&common[..], &["--hidden"]].concat()), root);
    assert_eq!(all[..2], [".folder/g.png", ".hidden.png"]);
    assert_eq!(all.len(), 7);
    // Named by itself, a hidden folder is read.
    let named = run(&["classify", &format!("{root}/.folder"), "-d", "cpu", "-f", "jsonl"]);
    assert_eq!(images(&named, root), [".folder/g.png"]);
}

#[cfg(unix)]
#[test]
fn links_and_names_of_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"b\xff.png"));
    cat(&odd);
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling.jpg")).unwrap();
    std::os::unix::fs::symlink("..", folder.path().join("loop")).unwrap();
    let output = run(&["classify", root, "-d", "cpu", "-f", "jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(images(&output, root), ["b\u{fffd}.png", "!dangling.jpg"]);
    assert!(said(&output).contains("error: "), "{}", said(&output));
    let named =
        Command::new(env!("CARGO_BIN_EXE_vit-gpu")).arg("classify").arg(&odd).args(["-d", "cpu"]).output().unwrap();
    assert_eq!(named.status.code(), Some(0), "{}", said(&named));
}

/// Root can read everything, so another user looks at what is locked; where there is none to be, nobody is locked out.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_one_failed_input() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    cat(&folder.path().join("ok/a.png"));
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    [folder.path(), &folder.path().join("ok")].iter().for_each(|path| allow(path, 0o755));
    allow(&locked, 0o000);
    let program = folder.path().join("vit-gpu");
    fs::copy(env!("CARGO_BIN_EXE_vit-gpu"), &program).unwrap();
    allow(&program, 0o755);
    let is_root = fs::read_dir(&locked).is_ok();
    let command = |args: &[&str]| {
        let mut command = if is_root { Command::new("setpriv") } else { Command::new(&program) };
        if is_root {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        }
        command.args(args).env("VIT_GPU_CACHE", "").output()
    };
    // There may be no such program, or no way to this folder for another user.
    let able = command(&["--version"]).is_ok_and(|output| output.status.success());
    let output = command(&["classify", root, "-d", "cpu", "-f", "jsonl"]);
    allow(&locked, 0o755);
    let Some(output) = output.ok().filter(|_| able) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(images(&output, root), ["!locked", "ok/a.png"]);
    assert!(said(&output).contains("Permission denied"), "{}", said(&output));
}

#[test]
fn an_output_is_opened_first_and_is_whole_or_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    cat(&folder.path().join("photos/a.png"));
    let photos = format!("{root}/photos");
    // Its model does not exist: the output is refused before that is found out.
    for output in [format!("{root}/none/x.npy"), photos.clone() + "/../photos/sub.npy/x.npy", format!("{root}/dir.npy")]
    {
        let _ = fs::create_dir(format!("{root}/dir.npy"));
        let refused = run(&["embed", &photos, "-m", "no/such/model", "-o", &output]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(said(&refused).contains(&output), "{}", said(&refused));
    }
    for name in ["x.npy", "x.npz", "x.safetensors", "x.jsonl"] {
        let file = folder.path().join(name);
        fs::write(&file, "before").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(run(&["embed", &photos, "-m", "no/such/model", "-o", path]).status.code(), Some(2));
        assert_eq!(fs::read(&file).unwrap(), b"before", "{name}");
        assert_eq!(run(&["embed", &photos, "-d", "cpu", "-q", "-o", path]).status.code(), Some(0));
        assert!(fs::metadata(&file).unwrap().len() > 128, "{name}");
        assert!(!folder.path().join(format!("{name}.part")).exists(), "{name}");
    }
}
