//! An index of photos: what costs something and what does not, what survives a kill, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use vit_gpu::index::{Digest, Index, IndexWriter, IndexedModel, Stamp};

use crate::cli::{command, fails, run, stdout};
use crate::compare::missing;
use crate::device::root;

/// Writes a small photo that is like no other number's.
pub fn draw(path: &Path, number: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut bytes = b"P6 16 12 255\n".to_vec();
    let value = |i: usize| (i.wrapping_mul(2_654_435_761).wrapping_add(number.wrapping_mul(40_503)) >> 8) as u8;
    bytes.extend((0..16 * 12 * 3).map(|i| value(i / (3 + number % 40) + 7 * number)));
    fs::write(path, bytes).unwrap();
}

pub fn draw_all(folder: &Path, count: usize) {
    (0..count).for_each(|number| draw(&folder.join(format!("{:02}/{number:05}.ppm", number % 7)), number));
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `index` on the processor; it must end with this code. Returns its last line.
#[track_caller]
pub fn index(index: &Path, args: &[&str], code: i32) -> String {
    let output = run(&[&["index", "--index", index.to_str().unwrap(), "-d", "cpu"][..], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
    said(&output).lines().last().unwrap_or_default().to_owned()
}

/// The vector of every photo, by its path.
pub fn vectors(index: &Path) -> BTreeMap<PathBuf, Vec<f32>> {
    let mut all = BTreeMap::new();
    let opened = Index::open(index).unwrap();
    let put = |path: &Path, vector: &[f32]| {
        assert!(all.insert(path.to_path_buf(), vector.to_vec()).is_none(), "{} is there twice", path.display());
        Ok::<_, vit_gpu::Error>(())
    };
    opened.vectors(|_| Ok(()), put).unwrap();
    all
}

#[test]
fn only_what_has_changed_is_read() {
    let there = tempfile::tempdir().unwrap();
    let (photos, file) = (there.path().join("photos"), there.path().join("x.index"));
    let folder = photos.to_str().unwrap();
    draw_all(&photos, 30);
    fs::write(photos.join("broken.jpg"), "no photo").unwrap();
    let line = index(&file, &[folder], 1);
    assert!(line.ends_with("30 photos, and 1 files that are no photos: 30 read, 1 failed, 0 unchanged"), "{line}");
    let first = vectors(&file);
    // A second run touches nothing, and does not even open the model. What is broken is not read again.
    let before = fs::read(&file).unwrap();
    let line = index(&file, &[], 0);
    assert!(line.ends_with(": nothing new, 31 unchanged"), "{line}");
    assert!(fs::read(&file).unwrap() == before, "the second run wrote something");

    // Moved, copied, touched, swapped, changed, new, removed.
    fs::create_dir(photos.join("new")).unwrap();
    fs::rename(photos.join("00/00000.ppm"), photos.join("new/moved.ppm")).unwrap();
    fs::copy(photos.join("01/00001.ppm"), photos.join("new/copy.ppm")).unwrap();
    let touch = |name: &str| {
        let content = fs::read(photos.join(name)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(photos.join(name), content).unwrap();
    };
    touch("02/00002.ppm");
    for (from, to) in [("03/00003.ppm", "x"), ("04/00004.ppm", "03/00003.ppm"), ("x", "04/00004.ppm")] {
        fs::rename(photos.join(from), photos.join(to)).unwrap();
    }
    touch("03/00003.ppm");
    touch("04/00004.ppm");
    draw(&photos.join("05/00005.ppm"), 1005);
    draw(&photos.join("05/01000.ppm"), 1000);
    fs::remove_file(photos.join("06/00006.ppm")).unwrap();
    let line = index(&file, &[folder], 0);
    assert!(line.contains("31 photos") && line.contains(": 2 read, 5 known by their content, 2 forgotten, "), "{line}");
    let second = vectors(&file);
    let at = |all: &BTreeMap<PathBuf, Vec<f32>>, name: &str| all[&photos.canonicalize().unwrap().join(name)].clone();
    assert_eq!(at(&second, "new/moved.ppm"), at(&first, "00/00000.ppm"));
    assert_eq!(at(&second, "new/copy.ppm"), at(&first, "01/00001.ppm"));
    assert_eq!(at(&second, "03/00003.ppm"), at(&first, "04/00004.ppm"));
    assert_eq!(at(&second, "04/00004.ppm"), at(&first, "03/00003.ppm"));
    assert_ne!(at(&second, "05/00005.ppm"), at(&first, "05/00005.ppm"));
    assert!(!second.keys().any(|path| path.ends_with("06/00006.ppm")));
    // Made anew, it is the same.
    let other = there.path().join("y.index");
    index(&other, &[folder, "--batch-size", "4"], 1);
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    let fresh = vectors(&other);
    assert!(fresh.keys().eq(second.keys()) && fresh.values().zip(second.values()).all(|(a, b)| close(a, b)));
}

#[test]
fn folders_are_remembered_and_missing_ones_are_kept() {
    let there = tempfile::tempdir().unwrap();
    let (disk, home, file) = (there.path().join("disk"), there.path().join("home"), there.path().join("x.index"));
    draw_all(&disk, 8);
    draw(&disk.join(".hidden/a.ppm"), 100);
    draw_all(&home.join("photos"), 5);
    draw(&home.join("photos/.hidden/b.ppm"), 200);
    index(&file, &[disk.to_str().unwrap()], 0);
    let line = index(&file, &[home.to_str().unwrap(), "--hidden"], 0);
    // The five were known from the other folder; only what is hidden is new.
    assert!(line.contains("14 photos: 1 read, 5 known by their content"), "{line}");
    assert!(index(&file, &[], 0).ends_with("nothing new, 14 unchanged"));
    // The innermost folder says what of it is indexed.
    let line = index(&file, &[home.join("photos").to_str().unwrap()], 0);
    assert!(line.contains("13 photos: 1 forgotten"), "{line}");
    assert!(index(&file, &[home.to_str().unwrap(), "--hidden"], 0).contains("13 photos: nothing new"));

    // A disk that is not mounted, and one whose empty folder is left.
    fs::rename(&disk, there.path().join("away")).unwrap();
    for state in ["is not there", "is empty"] {
        let output = run(&["index", "--index", file.to_str().unwrap(), "-d", "cpu"]);
        assert_eq!(output.status.code(), Some(0));
        let kept = format!("disk: the folder {state}; 8 photos of it are kept, and --prune forgets them");
        assert!(said(&output).contains(&kept) && said(&output).contains("13 photos: nothing new"), "{}", said(&output));
        let _ = fs::create_dir(&disk);
    }
    let status = stdout(&run(&["index", "--status", "--index", file.to_str().unwrap()]));
    assert!(status.contains("photos   13\n") && status.contains("disk: 8 photos\n"), "{status}");
    let line = index(&file, &["--prune"], 0);
    assert!(line.contains("5 photos: 8 forgotten"), "{line}");
    fs::remove_dir(&disk).unwrap();
    fs::rename(there.path().join("away"), &disk).unwrap();
    let line = index(&file, &[], 0);
    assert!(line.contains("13 photos: 3 read, 5 known by their content"), "{line}");
}

#[test]
fn a_run_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let there = tempfile::tempdir().unwrap();
    let (photos, file) = (there.path().join("photos"), there.path().join("x.index"));
    draw_all(&photos, 300);
    let (path, folder) = (file.to_str().unwrap(), photos.to_str().unwrap());
    let args = ["index", folder, "--index", path, "-d", "cpu", "--batch-size", "1"];
    for kill in 0..6u64 {
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 + 173 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        // A reader finds whole photos, or nothing yet.
        match Index::open(&file) {
            Ok(index) => assert_eq!(index.len().unwrap(), vectors(&file).len()),
            Err(error) => {
                let early = error.to_string();
                assert!(early.contains(&missing(&file)) || early.contains("nothing was indexed yet"), "{early}");
            }
        }
    }
    index(&file, &[folder, "--batch-size", "1"], 0);
    let other = there.path().join("y.index");
    index(&other, &[folder, "--batch-size", "1"], 0);
    assert_eq!(vectors(&file), vectors(&other));
    assert_eq!(vectors(&file).len(), 300);
    // Nothing is left in the file of vectors that no photo has.
    let bytes = |index: &Path| fs::metadata(format!("{}.0.vectors", index.display())).unwrap().len();
    assert_eq!(bytes(&file), bytes(&other));
    assert!(index(&file, &[], 0).contains("nothing new, 300 unchanged"));
}

#[test]
fn other_models_files_and_arguments_are_refused_in_one_line() {
    let there = tempfile::tempdir().unwrap();
    let (photos, file) = (there.path().join("photos"), there.path().join("x.index"));
    draw_all(&photos, 3);
    let (path, folder) = (file.to_str().unwrap(), photos.to_str().unwrap());
    fails(&["index", "--index", path], 2, "there is no such index yet: name a folder of photos");
    fails(&["search", "a", "--index", path], 2, "there is no index yet: `vit-gpu index DIR` makes one");
    fails(&["index", &format!("{folder}/none"), "--index", path, "-d", "cpu"], 2, "none: there is no such folder");
    fails(&["index", &format!("{folder}/00/00000.ppm"), "--index", path, "-d", "cpu"], 2, "this is not a folder");
    index(&file, &[folder], 0);
    let with = |more: &[&str], reason: &str| {
        fails(&[&["index", folder, "--index", path, "-d", "cpu"], more].concat(), 2, reason);
    };
    let other = root().join("tests/goldens/words/hf_clip");
    with(&["-m", other.to_str().unwrap()], "it was made with the model vit-nano-cifar10, and ");
    with(&["-m", "random:vit_tiny_patch16_224"], "random:vit_tiny_patch16_224 is another: give it an index of its own");
    with(&["--no-exif"], "it was made with no other options, not with --no-exif given");
    with(&["--precision", "i8"], "it was made in f32, not in i8");
    with(&["--export", "x.npy"], "cannot be used with");
    // The same model by another name is the same.
    assert!(index(&file, &[folder, "-m", "assets/vit-nano-cifar10"], 0).contains("3 unchanged"));

    // Other files, torn ones, and one that another process writes.
    let before = fs::read(&file).unwrap();
    let vectors = there.path().join("x.index.0.vectors");
    let head = fs::read(&vectors).unwrap();
    let both = |reason: &str| {
        fails(&["index", folder, "--index", path, "-d", "cpu"], 2, reason);
        fails(&["search", "assets/cat.png", "--index", path, "-d", "cpu"], 2, reason);
    };
    fs::write(&file, "this is a text of some length, but no database at all").unwrap();
    both("x.index: it is not an index of photos");
    assert!(fs::read_to_string(&file).unwrap().starts_with("this is a text"), "it is left alone");
    fs::write(&file, &before[..before.len() / 2]).unwrap();
    both("x.index: it is damaged: delete it and its files of vectors, and index again");
    fs::write(&file, &before).unwrap();
    fs::write(&vectors, &head[..head.len() - 1]).unwrap();
    both("x.index.0.vectors: vectors are missing: delete ");
    fs::write(&vectors, [&[0; 64], &head[64..]].concat()).unwrap();
    both("x.index.0.vectors: these are not the vectors of the index");
    fs::remove_file(&vectors).unwrap();
    both(&format!("x.index.0.vectors: {}", missing(&vectors)));
    fs::write(&vectors, &head).unwrap();
    assert!(index(&file, &[], 0).contains("3 unchanged"));
    let sqlite = there.path().join("other.db");
    fs::write(&sqlite, &before).unwrap();
    let lock = fs::File::open(there.path().join("x.index.lock")).unwrap();
    lock.lock().unwrap();
    fails(&["index", "--index", path], 2, "x.index: another process is writing it");
}

#[test]
fn a_reader_beside_a_writer_sees_whole_commits() {
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("x.index");
    let model = IndexedModel::named("test", 8, BTreeMap::new());
    let vector = |number: usize| -> Vec<f32> { (0..8).map(|i| ((number >> i & 1) as f32) + 0.1).collect() };
    let stamp = Stamp { size: 1, modified: 1 };
    let mut writer = IndexWriter::open_as(&file, &model).unwrap();
    let add = |writer: &mut IndexWriter, number: usize| {
        let path = PathBuf::from(format!("{number}.jpg"));
        writer.add(&path, stamp, Digest::of(path.to_str().unwrap().as_bytes()), &vector(number)).unwrap();
    };
    add(&mut writer, 1);
    writer.commit().unwrap();
    let (in_memory, from_file) = (Index::open(&file).unwrap(), Index::open(&file).unwrap().in_memory(false));
    let best = |number: usize| {
        let hits = [&in_memory, &from_file].map(|index| index.search(&vector(number), 1).unwrap());
        assert_eq!(hits[0][0].path, hits[1][0].path);
        (hits[0][0].path.display().to_string(), hits[0][0].score)
    };
    for number in 2..200 {
        add(&mut writer, number);
        assert_ne!(best(number).0, format!("{number}.jpg"), "it is not committed");
        writer.commit().unwrap();
        let (path, score) = best(number);
        assert!(path == format!("{number}.jpg") && score > 0.999, "{path} {score}");
        // An older photo goes, so that vectors are written anew from time to time.
        if number % 2 == 0 {
            writer.remove(format!("{}.jpg", number / 2).as_ref());
            writer.commit().unwrap();
            assert_ne!(best(number / 2).0, format!("{}.jpg", number / 2));
            let (holes, all) = writer.holes();
            if 4 * holes > all {
                writer.compact().unwrap();
            }
        }
        assert_eq!(in_memory.len().unwrap(), number - number / 2);
    }
    let hits = in_memory.search_above(&vector(150), 1000, 0.9).unwrap();
    assert_eq!(hits, from_file.search_above(&vector(150), 1000, 0.9).unwrap());
    assert!(hits.len() > 3 && hits.is_sorted_by(|a, b| a.score >= b.score));
    assert!(!there.path().join("x.index.0.vectors").exists(), "the vectors were never written anew");
    // One that is not committed is not kept, and a second writer is refused as long as there is a first.
    add(&mut writer, 500);
    assert!(IndexWriter::open_as(&file, &model).unwrap_err().to_string().contains("another process is writing it"));
    drop(writer);
    let writer = IndexWriter::open_as(&file, &model).unwrap();
    assert_eq!(writer.photos().len(), 100);
    assert!(in_memory.search(&[0.0; 7], 1).unwrap_err().to_string().contains("expected a vector of 8 finite values"));
}

/// Root may write everywhere, so another user tries; where there is none to be, nobody is kept out.
#[cfg(unix)]
#[test]
fn folders_and_disks_that_cannot_be_written_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let there = tempfile::tempdir().unwrap();
    let (photos, locked) = (there.path().join("photos"), there.path().join("locked"));
    draw_all(&photos, 3);
    fs::create_dir(&locked).unwrap();
    index(&locked.join("x.index"), &[photos.to_str().unwrap()], 0);
    let program = there.path().join("vit-gpu");
    fs::copy(env!("CARGO_BIN_EXE_vit-gpu"), &program).unwrap();
    fs::copy(root().join("assets/cat.png"), there.path().join("cat.png")).unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(there.path(), 0o755);
    allow(&locked, 0o555);
    let is_root = fs::write(locked.join("probe"), "").is_ok();
    let _ = fs::remove_file(locked.join("probe"));
    let as_user = |args: &[&str]| {
        let mut command = if is_root { Command::new("setpriv") } else { Command::new(&program) };
        if is_root {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        }
        command
            .args(args)
            .args(["-d", "cpu"])
            .current_dir(there.path())
            .env("VIT_GPU_CACHE", "")
            .env("VIT_GPU_CONFIG", "")
            .output()
    };
    if as_user(&["info"]).is_ok_and(|output| output.status.code() == Some(2) || output.status.success()) {
        for file in ["locked/new.index", "locked/x.index"] {
            let output = as_user(&["index", "photos", "--index", file]).unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(said(&output).contains(&format!("{file}: Permission denied")), "{}", said(&output));
        }
        // What can't be written can still be searched.
        let output = as_user(&["search", "cat.png", "--index", "locked/x.index", "-k", "2"]).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(stdout(&output).lines().count(), 2);
    }
    allow(&locked, 0o755);
}
