//! Files of results: the same rows in every format, whole or not there, and continued after any end of a run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, RowAccessor};
use serde_json::Value;

use crate::cli::{command, fails, run, stdout};
use crate::compare::missing;

/// A folder with so many images, and two files that are none: the fourth by name, and the last.
pub fn photos(folder: &Path, count: usize) -> String {
    let photos = folder.join("photos");
    fs::create_dir(&photos).unwrap();
    let first = photos.join("00000.png");
    fs::copy(crate::device::root().join("assets/cat.png"), &first).unwrap();
    for i in 1..count {
        fs::hard_link(&first, photos.join(format!("{i:05}.png"))).unwrap();
    }
    fs::write(photos.join("00002b.png"), "not a picture").unwrap();
    fs::write(photos.join("zz.jpg"), "").unwrap();
    photos.to_str().unwrap().to_owned()
}

/// Runs to a file in the folder; the program must end with 1, because two images fail.
fn written(folder: &Path, args: &[&str], name: &str) -> PathBuf {
    let path = folder.join(name);
    let output = run(&[args, &["-d", "cpu", "-q", "-o", path.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    for ending in ["part", "state", "whole"] {
        assert!(!folder.join(format!("{name}.{ending}")).exists(), "{name}.{ending}");
    }
    path
}

pub fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn classes_are_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 6);
    let args = ["classify", &photos, "-k", "3"];
    let jsonl = lines(&written(folder.path(), &args, "x.jsonl"));
    assert_eq!(jsonl.len(), 8);
    let array = fs::read(written(folder.path(), &args, "x.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&array).unwrap(), jsonl);
    let table = fs::read_to_string(written(folder.path(), &args, "x.csv")).unwrap();
    let printed = run(&["classify", &photos, "-k", "3", "-d", "cpu", "-f", "csv"]);
    assert_eq!(table, stdout(&printed));
    assert_eq!(table.lines().count(), 1 + 6 * 3 + 2);
    let text = fs::read_to_string(written(folder.path(), &args, "x.txt")).unwrap();
    assert_eq!(text.lines().count(), 6 * 4);

    let file = File::open(written(folder.path(), &args, "x.parquet")).unwrap();
    let rows = SerializedFileReader::new(file).unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let mut wanted = reader.records();
    for row in rows.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let got = row.get_column_iter().map(|(_, field)| match field {
            Field::Null => String::new(),
            Field::Str(text) => text.clone(),
            Field::Int(number) => number.to_string(),
            Field::Float(number) => number.to_string(),
            other => panic!("{other}"),
        });
        assert_eq!(got.collect::<Vec<_>>(), wanted.next().unwrap().unwrap().iter().collect::<Vec<_>>());
    }
    assert!(wanted.next().is_none());
}

#[test]
fn vectors_are_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 5);
    for of in ["pooled", "patches"] {
        let args = ["embed", &photos, "--of", of];
        fn join(value: &Value, out: &mut Vec<f32>) {
            match value {
                Value::Array(values) => values.iter().for_each(|value| join(value, out)),
                value => out.push(value.as_f64().unwrap() as f32),
            }
        }
        let jsonl = lines(&written(folder.path(), &args, "x.jsonl"));
        let rows: Vec<Vec<f32>> = jsonl
            .iter()
            .map(|line| {
                let mut row = Vec::new();
                if let Some(values) = line.get("embedding") {
                    join(values, &mut row);
                }
                row
            })
            .collect();
        let width = rows[0].len();
        assert_eq!((rows.len(), rows[3].len(), width), (7, 0, if of == "pooled" { 128 } else { 64 * 128 }));
        // An array has a row of NaN for an image that failed.
        let same = |values: &[f32], what: &str| {
            assert_eq!(values.len(), 7 * width, "{what}");
            for (i, (got, want)) in values.chunks_exact(width).zip(&rows).enumerate() {
                let failed = want.is_empty() && got.iter().all(|value| value.is_nan());
                assert!(failed || got == want.as_slice(), "{of} {what} row {i}");
            }
        };
        let npy = fs::read(written(folder.path(), &args, "x.npy")).unwrap();
        same(&npyz::NpyFile::new(&npy[..]).unwrap().into_vec::<f32>().unwrap(), "npy");
        let npz = File::open(written(folder.path(), &args, "x.npz")).unwrap();
        let mut npz = zip::ZipArchive::new(npz).unwrap();
        let array = npyz::NpyFile::new(npz.by_name("embeddings.npy").unwrap()).unwrap();
        same(&array.into_vec::<f32>().unwrap(), "npz");
        let tensors = fs::read(written(folder.path(), &args, "x.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&tensors).unwrap();
        let bytes = tensors.tensor("embeddings").unwrap().data().to_vec();
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        same(&values, "safetensors");

        let file = File::open(written(folder.path(), &args, "x.parquet")).unwrap();
        let table = SerializedFileReader::new(file).unwrap();
        for (i, row) in table.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            assert_eq!(row.get_string(0).unwrap(), jsonl[i]["image"].as_str().unwrap());
            let values: Vec<f32> = match row.get_column_iter().nth(1).unwrap().1 {
                Field::Null => Vec::new(),
                Field::ListInternal(list) => list
                    .elements()
                    .iter()
                    .map(|value| if let Field::Float(v) = value { *v } else { panic!() })
                    .collect(),
                other => panic!("{other}"),
            };
            assert_eq!(values, rows[i], "{of} parquet row {i}");
            assert_eq!(row.get_string(2).ok().map(String::as_str), jsonl[i]["error"].as_str());
        }
    }
    let table = fs::read(written(folder.path(), &["embed", &photos], "x.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(&table[..]);
    assert_eq!(reader.headers().unwrap().len(), 130);
    assert_eq!(reader.records().map(|row| usize::from(row.unwrap()[1].is_empty())).sum::<usize>(), 5);
    fails(&["embed", &photos, "--of", "tokens", "-o", "x.csv"], 2, "--of pooled");
    fails(&["embed", &photos, "-o", "x.txt"], 2, "must end in .npy, .npz, .safetensors, .parquet, .jsonl or .csv");
    fails(&["classify", &photos, "-o", "x.npy"], 2, "must end in .txt, .json, .jsonl, .csv or .parquet");
}

/// Starts a run of many images, one at a time.
pub fn start(args: &[&str], output: &Path) -> Child {
    let mut command = command(args);
    command.args(["-d", "cpu", "--batch-size", "1", "-o", output.to_str().unwrap()]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the run has stated that some of its rows are complete.
pub fn wait_for_rows(state: &Path, longer_than: u64) -> u64 {
    let start = Instant::now();
    loop {
        let len = fs::metadata(state).map_or(0, |metadata| metadata.len());
        if len > longer_than {
            return len;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no rows were written");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 300);
    for (args, name) in [
        (&["classify", &photos, "-k", "2"][..], "x.csv"),
        (&["classify", &photos, "-k", "2"], "x.json"),
        (&["classify", &photos, "-k", "2"], "x.parquet"),
        (&["embed", &photos], "x.npy"),
    ] {
        let whole = fs::read(written(folder.path(), &[args, &["--batch-size", "1"]].concat(), name)).unwrap();
        let path = folder.path().join(name);
        fs::remove_file(&path).unwrap();
        let state = folder.path().join(format!("{name}.state"));
        let mut seen = 0;
        for round in 0..3 {
            let mut child = start(&[args, &["--resume"]].concat(), &path);
            seen = wait_for_rows(&state, seen + 500 + 111 * round);
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!path.exists(), "{name}");
        }
        // A torn line of the state, and rows behind the last complete one, are what a kill may leave as well.
        use std::io::Write;
        let append = |path: &Path, text: &str| {
            File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        append(&state, "{\"images\":19");
        append(&folder.path().join(format!("{name}.part")), "torn");
        fails(&[args, &["-d", "cpu", "-o", path.to_str().unwrap()]].concat(), 2, "add --resume to go on");
        let other = [args, &["-d", "cpu", "--no-exif", "--resume", "-o", path.to_str().unwrap()]].concat();
        fails(&other, 2, "--no-exif was not given, and is given now");
        let resumed = written(folder.path(), &[args, &["--resume", "--batch-size", "1"]].concat(), name);
        assert!(fs::read(resumed).unwrap() == whole, "{name} differs");
    }
}

/// In a model whose images depend on each other within a batch, rows of another batch size are other rows.
#[test]
fn a_run_whose_batches_matter_is_resumed_with_the_same_ones() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 400);
    let path = folder.path().join("x.csv");
    let model = crate::models::goldens().join("models/enc_batch_second");
    let args = ["classify", &photos, "-m", model.to_str().unwrap()];
    let mut child = start(&args, &path);
    wait_for_rows(&folder.path().join("x.csv.state"), 600);
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = [&args[..], &["-d", "cpu", "--resume", "-o", path.to_str().unwrap()]].concat();
    fails(&[&resumed[..], &["--batch-size", "2"]].concat(), 2, "--batch-size was 1, and is 2 now");
    assert_eq!(run(&[&resumed[..], &["--batch-size", "1"]].concat()).status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 1000);
    let path = folder.path().join("x.jsonl");
    let child = start(&["classify", &photos], &path);
    wait_for_rows(&folder.path().join("x.jsonl.state"), 600);
    // A second run must not write the same file.
    let args = ["classify", &photos, "-d", "cpu", "--resume", "-o", path.to_str().unwrap()];
    fails(&args, 2, "another run is writing it");
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let rows = lines(&folder.path().join("x.jsonl.part")).len();
    let told = format!("stopped after {rows} of 1002 images: ");
    assert!(said.contains(&told) && said.contains("--resume goes on"), "{said}");
    assert!(!said.contains("the rows of 1002 images"), "{said}");
    assert!((1..1002).contains(&rows) && !path.exists());
    assert_eq!(run(&args).status.code(), Some(1));
    assert_eq!(lines(&path).len(), 1002);
}

/// A full disk costs no row that was written before.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 300);
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let size = |size: &str, how: &str| {
        let options = format!("{how}size={size}");
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&small).output();
        mount.is_ok_and(|output| output.status.success())
    };
    if !size("128k", "") {
        eprintln!("skipped: this user can't mount a file system");
        return;
    }
    let path = small.join("x.npy");
    let args = ["embed", &photos, "-d", "cpu", "--resume", "-o", path.to_str().unwrap()];
    let full = run(&args);
    let part = fs::metadata(small.join("x.npy.part")).map(|part| part.len());
    let larger = size("4m", "remount,");
    let resumed = run(&args);
    let values = fs::read(&path);
    std::process::Command::new("umount").arg(&small).status().unwrap();
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(2), "{said}");
    assert!(
        said.contains("results could not be written: No space left on device") && said.contains("--resume"),
        "{said}"
    );
    assert!(part.unwrap() > 4096 && larger);
    assert_eq!(resumed.status.code(), Some(1), "{}", String::from_utf8_lossy(&resumed.stderr));
    let whole = fs::read(written(folder.path(), &["embed", &photos], "x.npy")).unwrap();
    assert!(values.unwrap() == whole);
}

#[test]
fn what_can_not_be_resumed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 1);
    let path = folder.path().join("x.csv");
    let path = path.to_str().unwrap();
    fails(&["classify", &photos, "--resume"], 2, "--resume needs --output");
    fails(&["classify", "-", "--resume", "-o", path], 2, "can't be read again");
    #[cfg(unix)]
    fails(&["classify", &photos, "--resume", "-f", "csv", "-o", "/dev/null"], 2, "not a file");
    fails(&["classify", "-", "--from-file", "-"], 2, "only once");
}

#[test]
fn lists_thresholds_and_folders_for_labels() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), 2);
    let list = folder.path().join("list");
    for text in
        [format!("{photos}/00000.png\r\n\n{photos}/00001.png"), format!("{photos}/00000.png\0{photos}/00001.png\0")]
    {
        fs::write(&list, text).unwrap();
        let output = run(&["classify", "--from-file", list.to_str().unwrap(), "-d", "cpu", "-f", "jsonl"]);
        assert_eq!((output.status.code(), stdout(&output).lines().count()), (Some(0), 2));
    }
    fails(&["classify", "--from-file", "no/list"], 2, &format!("no/list: {}", missing("no/list")));
    // The first class has a score of 0.62, the second one of 0.17.
    let count = |threshold: &str, format| {
        let output = run(&["classify", "assets/cat.png", "-d", "cpu", "--threshold", threshold, "-f", format]);
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    assert_eq!(count("0.6", "csv").lines().count(), 2);
    assert_eq!(count("0", "csv").lines().count(), 11);
    assert!(count("0.9", "csv").ends_with("assets/cat.png,,,,,\n"));
    assert!(count("0.9", "text").ends_with("no class has a score of 0.9 or more\n"));
    let sorted = folder.path().join("sorted");
    let into = sorted.to_str().unwrap();
    let sort = |by: &str, more: &[&str]| {
        let args = ["classify", &photos, "assets/cat.png", "-d", "cpu", "--sort-into", into, "--sort-by", by];
        run(&[&args, more].concat()).status.code()
    };
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(sorted.join("cat")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(sort("link", &["--threshold", "0.9"]), Some(1));
    assert!(!sorted.join("cat").exists());
    for _ in 0..2 {
        assert_eq!(sort("link", &[]), Some(1));
        assert_eq!(names(), ["00000.png", "00001.png", "cat.png"]);
    }
    // Copies of other files under the same names get other names, and what has been copied is not copied again.
    fs::write(sorted.join("cat/other"), "").unwrap();
    fs::rename(sorted.join("cat/other"), sorted.join("cat/cat.png")).unwrap();
    for _ in 0..2 {
        assert_eq!(sort("copy", &[]), Some(1));
        assert_eq!(names(), ["00000.png", "00001.png", "cat (2).png", "cat.png"]);
    }
    assert_eq!(fs::metadata(sorted.join("cat/cat.png")).unwrap().len(), 0);
    let moved = ["classify", &format!("{photos}/00000.png"), "-d", "cpu", "--sort-into", into, "--sort-by", "move"];
    assert_eq!(run(&moved).status.code(), Some(0));
    assert!(!Path::new(&photos).join("00000.png").exists() && names().len() == 5);
    fails(&[&moved[..], &["--resume", "-o", "x.csv"]].concat(), 2, "--sort-by move");
}

#[test]
fn defaults_come_from_variables_and_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "device = \"nowhere\"\nbatch-size = 3\n").unwrap();
    let with = |args: &[&str], variables: &[(&str, &str)]| {
        let output = command(args).env("VIT_GPU_CONFIG", &file).envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
    };
    let (code, said) = with(&["config"], &[("VIT_GPU_MODEL", "a/b")]);
    assert_eq!(code, Some(0));
    let from_file = format!("device      nowhere (from {})", file.display());
    assert!(said.contains("model       a/b (from VIT_GPU_MODEL)") && said.contains(&from_file), "{said}");
    let report: Value = serde_json::from_str(&with(&["config", "-f", "json"], &[]).1).unwrap();
    assert_eq!((&report["batch-size"]["value"], &report["model"]["from"]), (&"3".into(), &"built in".into()));
    let (code, said) = with(&["classify", "assets/cat.png"], &[]);
    assert!(code == Some(2) && said.contains("nowhere"), "{said}");
    // An option comes before a variable, and a variable before the file.
    assert_eq!(with(&["classify", "assets/cat.png"], &[("VIT_GPU_DEVICE", "cpu")]).0, Some(0));
    assert_eq!(with(&["classify", "assets/cat.png", "-d", "cpu"], &[("VIT_GPU_DEVICE", "none")]).0, Some(0));
    let (code, said) = with(&["classify", "assets/cat.png"], &[("VIT_GPU_BATCH_SIZE", "many")]);
    assert!(code == Some(2) && said.contains("VIT_GPU_BATCH_SIZE: batch-size is `many`"), "{said}");
    fs::write(&file, "modle = 1\n").unwrap();
    let (code, said) = with(&["config"], &[]);
    assert!(code == Some(2) && said.contains("config.toml: line 1: ") && said.contains("modle"), "{said}");
    fs::remove_file(&file).unwrap();
    assert!(with(&["config"], &[]).1.contains(&format!("config.toml: {}", missing(&file))));
}

#[test]
fn scripts_for_shells_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(stdout(&run(&["completions", shell])).contains("--sort-into"), "{shell}");
    }
    assert!(stdout(&run(&["man"])).contains(".SH NAME"));
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&["man", "-o", folder.path().to_str().unwrap()]).status.success());
    assert!(fs::read_to_string(folder.path().join("vit-gpu-classify.1")).unwrap().contains("threshold"));
}
