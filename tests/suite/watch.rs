//! Photos that arrive while the program watches: read when they are whole, moved and removed as they are on the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use vit_gpu::index::Index;

use crate::cli::{command, fails};
use crate::index::{draw, draw_all, index};

/// A program that watches; it is ended when this is dropped.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Watching {
    fn start(args: &[&str], log: &Path) -> Watching {
        let log = File::create(log).unwrap();
        let mut command = command(&[&["watch", "-d", "cpu", "--settle", "0.4"], args].concat());
        Watching(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Ends it as Ctrl-C does; it must end with 130.
    #[cfg(unix)]
    fn interrupt(mut self) {
        let pid = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(130));
    }
}

/// Waits until what `see` gives is `want`.
#[track_caller]
fn wait<T: PartialEq + std::fmt::Debug>(want: &T, see: impl Fn() -> T) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if see() == *want {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(see(), *want);
}

/// Names of the photos in an index, without their folder; those that could not be decoded have `!` in front.
fn names(index: &Path, folder: &Path) -> Vec<String> {
    let Ok(entries) = Index::open(index).and_then(|index| index.entries()) else { return Vec::new() };
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    entries
        .iter()
        .map(|entry| format!("{}{}", if entry.error.is_some() { "!" } else { "" }, name(&entry.path)))
        .collect()
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(unix)]
#[test]
fn an_index_follows_its_folder() {
    let there = tempfile::tempdir().unwrap();
    let (photos, file, log) = (there.path().join("photos"), there.path().join("x.index"), there.path().join("log"));
    draw(&photos.join("a.ppm"), 1);
    let photos = photos.canonicalize().unwrap();
    let now = || names(&file, &photos);
    let watching = Watching::start(&[photos.to_str().unwrap(), "--index", file.to_str().unwrap()], &log);
    wait(&list(&["a.ppm"]), now);
    // A new one, and one in a new folder, of which the system says nothing at first; what is hidden stays so.
    draw(&photos.join("b.ppm"), 2);
    draw(&photos.join("deep/er/c.ppm"), 3);
    draw(&photos.join(".hidden/d.ppm"), 4);
    fs::write(photos.join("notes.txt"), "no photo").unwrap();
    wait(&list(&["a.ppm", "b.ppm", "deep/er/c.ppm"]), now);
    // Half written, it is left alone: never is it one that can't be decoded.
    draw(&there.path().join("slow"), 5);
    let whole = fs::read(there.path().join("slow")).unwrap();
    let mut slow = File::create(photos.join("slow.ppm")).unwrap();
    for part in whole.chunks(whole.len().div_ceil(8)) {
        slow.write_all(part).unwrap();
        slow.flush().unwrap();
        std::thread::sleep(Duration::from_millis(150));
        assert!(!now().iter().any(|name| name.contains("slow")), "{:?}", now());
    }
    drop(slow);
    wait(&list(&["a.ppm", "b.ppm", "deep/er/c.ppm", "slow.ppm"]), now);
    // Renames of a photo and of a folder, a change, a removal, and one that is no photo.
    fs::rename(photos.join("b.ppm"), photos.join("z.ppm")).unwrap();
    fs::rename(photos.join("deep"), photos.join("shallow")).unwrap();
    draw(&photos.join("a.ppm"), 6);
    fs::remove_file(photos.join("slow.ppm")).unwrap();
    fs::write(photos.join("broken.png"), "no photo").unwrap();
    wait(&list(&["a.ppm", "!broken.png", "shallow/er/c.ppm", "z.ppm"]), now);
    let said = fs::read_to_string(&log).unwrap();
    assert!(
        !said.contains("slow.ppm") && said.matches("error: ").count() == 1 && said.contains("broken.png: "),
        "{said}"
    );
    watching.interrupt();
    // Everything was kept, and nothing is left to do but what arrives now.
    assert!(index(&file, &[], 0).contains("nothing new, 4 unchanged"));
    draw_all(&photos, 3);
    let watching = Watching::start(&["--index", file.to_str().unwrap()], &log);
    wait(&7, || now().len());
    // A disk that is pulled out takes no photos with it, and is seen when it is back.
    fs::rename(&photos, there.path().join("away")).unwrap();
    wait(&true, || fs::read_to_string(&log).unwrap().contains("the folder is gone; its photos are kept"));
    assert_eq!(now().len(), 7);
    draw(&there.path().join("away/late.ppm"), 9);
    fs::rename(there.path().join("away"), &photos).unwrap();
    wait(&8, || now().len());
    watching.interrupt();
}

#[cfg(unix)]
#[test]
fn a_stream_has_a_line_for_each_photo_that_arrives() {
    let there = tempfile::tempdir().unwrap();
    let (photos, out, log) = (there.path().join("photos"), there.path().join("x.jsonl"), there.path().join("log"));
    draw(&photos.join("before.ppm"), 1);
    // Written just before: it must be old enough to count as being there.
    std::thread::sleep(Duration::from_millis(500));
    let watching = Watching::start(&[photos.to_str().unwrap(), "-o", out.to_str().unwrap(), "-k", "2"], &log);
    wait(&true, || fs::read_to_string(&log).is_ok_and(|said| said.contains("watching ")));
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    fs::copy(crate::device::root().join("assets/cat.png"), photos.join("cat.png")).unwrap();
    wait(&1, || lines().len());
    let line = lines().remove(0);
    assert!(
        line["image"].as_str().unwrap().ends_with("/cat.png") && line["predictions"][0]["label"] == "cat",
        "{line}"
    );
    assert_eq!(line["predictions"].as_array().unwrap().len(), 2);
    fs::rename(photos.join("cat.png"), photos.join("tom.png")).unwrap();
    fs::remove_file(photos.join("before.ppm")).unwrap();
    wait(&4, || lines().len());
    let lines = lines();
    let of = |name: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["image"].as_str().unwrap().ends_with(name)).collect()
    };
    assert!(of("/tom.png")[0]["predictions"][0]["label"] == "cat" && of("/before.ppm")[0]["removed"] == true);
    assert!(of("/cat.png")[1]["removed"] == true);
    watching.interrupt();
}

#[test]
fn mistakes_are_named() {
    let there = tempfile::tempdir().unwrap();
    let folder = PathBuf::from(there.path());
    let (file, none) = (folder.join("x.index"), folder.join("none"));
    let (file, none) = (file.to_str().unwrap(), none.to_str().unwrap());
    fails(&["watch", "--index", file], 2, "there is no such index yet: name a folder of photos");
    fails(&["watch", none, "--index", file, "-d", "cpu"], 2, "none: there is no such folder");
    fails(&["watch", none, "-f", "jsonl"], 2, "none: there is no such folder");
    fails(&["watch", "-f", "jsonl"], 2, "name a folder of photos");
    fails(&["watch", there.path().to_str().unwrap(), "-f", "csv"], 2, "expected jsonl");
    fails(&["watch", there.path().to_str().unwrap(), "-o", "x.csv"], 2, "x.csv: --output must end in .jsonl");
    fails(&["watch", none, "-f", "jsonl", "--index", file], 2, "cannot be used with");
    fails(&["watch", none, "--index", file, "--labels", "a"], 2, "classes are printed with --format jsonl");
    fails(&["watch", none, "--settle", "0"], 2, "--settle takes 0.05 to 3600 seconds");
}
