//! Searching an index: the right photos first, by words and by photos, in every format; exports; photos that look the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use vit_gpu::internals::checkpoint::Tensors;
use vit_gpu::{Device, Embedder, Image, Model, Orient, Session, TextEmbedder};

use crate::cli::{fails, run, stdout};
use crate::compare::missing;
use crate::device::root;
use crate::index::{draw, index, said, vectors};
use crate::models::goldens;

/// Drawings that the trained pair of towers has not seen, in files named by what they show, and an index of them.
fn drawings() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let there = tempfile::tempdir().unwrap();
        let shapes = goldens().join("shapes");
        let (_, shown) = Tensors::open(&shapes.join("held.safetensors")).unwrap().values("labels").unwrap();
        let names = fs::read_to_string(shapes.join("labels.txt")).unwrap();
        let names: Vec<String> = names.lines().map(|name| name.replace(' ', "-")).collect();
        let sheet = Image::decode(&fs::read(shapes.join("held.png")).unwrap(), "held.png", Orient::Exif).unwrap();
        fs::create_dir(there.path().join("photos")).unwrap();
        for (number, (pixels, shown)) in sheet.data().chunks_exact(32 * 32 * 3).zip(&shown).enumerate() {
            let name = format!("photos/{}_{number:03}.ppm", names[*shown as usize]);
            fs::write(there.path().join(name), [b"P6 32 32 255\n", pixels].concat()).unwrap();
        }
        let photos = there.path().join("photos");
        let args = [photos.to_str().unwrap(), "-m", shapes.to_str().unwrap()];
        assert!(index(&there.path().join("x.index"), &args, 0).contains("240 photos: 240 read"));
        there
    });
    folder.path()
}

fn file() -> String {
    drawings().join("x.index").to_str().unwrap().to_owned()
}

/// What is found: names and scores.
fn found(args: &[&str]) -> Vec<(String, f64)> {
    let output = run(&[&["search", "--index", &file(), "-d", "cpu", "-f", "json"][..], args].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    let list: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    let name = |hit: &Value| PathBuf::from(hit["image"].as_str().unwrap()).file_stem().unwrap().display().to_string();
    list.iter().map(|hit| (name(hit), hit["score"].as_f64().unwrap())).collect()
}

fn session() -> Session {
    Session::builder().device(Device::Cpu).build(Model::open(goldens().join("shapes")).unwrap()).unwrap()
}

#[test]
fn words_find_what_they_describe() {
    let mut right = 0;
    for color in ["red", "green", "blue", "yellow", "purple", "orange", "white", "black"] {
        let hits = found(&[&format!("a {color} circle"), "--top", "5"]);
        assert_eq!(hits.len(), 5);
        right += hits.iter().filter(|(name, _)| name.starts_with(&format!("{color}-circle"))).count();
    }
    // One in 48 would be chance.
    assert!(right > 24, "{right} of 40");
    // The order and the scores are those of all cosines, up to the vectors' half precision.
    let words = TextEmbedder::new(session()).unwrap().normalized(true).embed("a blue square").unwrap();
    let all = vectors(&drawings().join("x.index"));
    let mut want: Vec<(String, f64)> = all
        .iter()
        .map(|(path, vector)| {
            let score = vector.iter().zip(&words).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            (path.file_stem().unwrap().display().to_string(), score)
        })
        .collect();
    want.sort_by(|a, b| b.1.total_cmp(&a.1));
    let got = found(&["a blue square", "--top", "1000"]);
    assert_eq!(got.len(), 240);
    for ((_, got), (_, want)) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    let least = want[9].1 - 1e-5;
    let some = found(&["a blue square", "--top", "1000", "--min-score", &least.to_string()]);
    assert!(some.len() >= 10 && some.len() < 14 && some[..5] == got[..5]);
    assert!(found(&["a blue square", "--min-score", "2"]).is_empty());
}

#[test]
fn photos_are_queries_and_parts_of_queries() {
    let there = drawings();
    let photo = there.join("photos").read_dir().unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let name = photo.file_stem().unwrap().display().to_string();
    let path = photo.to_str().unwrap();
    let hits = found(&[path, "--top", "3"]);
    assert!(hits[0].0 == name && hits[0].1 > 0.999 && hits[1].1 < hits[0].1, "{hits:?}");
    // Of the stored vectors, the photo's own is what the model gives, of length 1 and in half precision.
    let image = Image::decode(&fs::read(&photo).unwrap(), "photo", Orient::Exif).unwrap();
    let vector = Embedder::new(session()).normalized(true).embed(&image).unwrap();
    let stored = &vectors(&there.join("x.index"))[&photo.canonicalize().unwrap()];
    assert!(vector.iter().zip(stored).all(|(a, b)| (a - b).abs() < 1e-3));
    // What is taken away is found later, and what is added is found earlier.
    let rank = |hits: &[(String, f64)]| hits.iter().position(|(hit, _)| *hit == name).unwrap();
    let plain = rank(&found(&["a red cross", "--top", "240"]));
    let with = rank(&found(&["a red cross", "--plus", path, "--top", "240"]));
    let without = rank(&found(&["a red cross", "--minus", path, "--top", "240"]));
    assert!(with < plain && plain < without && with < 60 && without > 200, "{with} {plain} {without}");
    assert_eq!(found(&["--plus", "a red cross", "--top", "9"]), found(&["a red cross", "--top", "9"]));
    // Names of files are words if the user says so.
    assert_ne!(found(&[path, "--text", "--top", "9"]), found(&[path, "--top", "9"]));
    let with =
        |more: &[&str], reason: &str| fails(&[&["search", "--index", &file(), "-d", "cpu"], more].concat(), 2, reason);
    with(&["photo.JPG"], "photo.JPG: there is no such file; --text takes it for words");
    with(&["a", "--minus", "a"], "cancel each other out");
    with(&[" "], "there are no words to look for");
    with(&["--near-duplicates", "a"], "cannot be used with");
    with(&["--top", "3"], "required arguments");
    with(&["a", "-m", "assets/vit-nano-cifar10"], "is another: give it an index of its own");
    with(&["a", "-o", "x.png"], "x.png: --output must end in .txt, .json, .jsonl or .html");
    let broken = there.join("broken.png");
    fs::write(&broken, "no photo").unwrap();
    fails(&["search", "--index", &file(), "-d", "cpu", broken.to_str().unwrap()], 1, "not an image");
}

#[test]
fn every_format_has_the_same_photos() {
    let there = tempfile::tempdir().unwrap();
    let hits = found(&["a green star", "--top", "7"]);
    let write = |name: &str| {
        let path = there.path().join(name);
        let args = ["search", "a green star", "-k", "7", "--index", &file(), "-d", "cpu", "-o", path.to_str().unwrap()];
        assert_eq!(run(&args).status.code(), Some(0), "{name}");
        fs::read_to_string(path).unwrap()
    };
    assert_eq!(serde_json::from_str::<Vec<Value>>(&write("x.json")).unwrap().len(), 7);
    let (lines, text, page) = (write("x.jsonl"), write("x.txt"), write("x.html"));
    for ((line, row), (name, score)) in lines.lines().zip(text.lines()).zip(&hits) {
        let hit: Value = serde_json::from_str(line).unwrap();
        assert!(hit["image"].as_str().unwrap().contains(name) && hit["score"] == *score, "{line}");
        assert!(row.starts_with(&format!("{score:7.4}  /")) && row.ends_with(&format!("{name}.ppm")), "{row}");
        assert!(page.contains(&format!("<b>{score:.3}</b>{name}.ppm")), "{name}");
    }
    assert!(lines.lines().count() == 7 && text.lines().count() == 7);
    assert_eq!(page.matches("<img src=\"data:image/png;base64,").count(), 7);
    // It needs no network, and nothing of it can be a script.
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("<link"));
    assert!(fs::read_dir(there.path()).unwrap().count() == 4, "no parts are left");
}

#[test]
fn names_of_any_bytes_are_kept() {
    let there = tempfile::tempdir().unwrap();
    let (photos, file) = (there.path().join("photos"), there.path().join("x.index"));
    draw(&photos.join("<b>\"&'\n.ppm"), 1);
    #[cfg(unix)]
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"o\xff.ppm");
    #[cfg(not(unix))]
    let odd = std::ffi::OsStr::new("o.ppm");
    draw(&photos.join(odd), 2);
    index(&file, &[photos.to_str().unwrap()], 0);
    let search = |format: &str| {
        let args = ["search", "assets/cat.png", "--index", file.to_str().unwrap(), "-d", "cpu", "-f", format];
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        output.stdout
    };
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(holds(&search("text"), odd.as_encoded_bytes()));
    let page = String::from_utf8(search("html")).unwrap();
    assert!(
        page.contains("&lt;b&gt;&quot;&amp;") && page.contains("%3Cb%3E%22%26%27%0A.ppm") && !page.contains("<b>\"")
    );
    let list: Vec<Value> = serde_json::from_slice(&search("json")).unwrap();
    let bytes: Vec<_> = list.iter().filter_map(|hit| hit["image_bytes"].as_str()).collect();
    assert!(bytes.len() == usize::from(cfg!(unix)) && bytes.iter().all(|bytes| bytes.ends_with("6fff2e70706d")));
    // Exported, each vector still has its name.
    for name in ["x.npy", "x.parquet"] {
        let to = there.path().join(name);
        let output = run(&["index", "--export", to.to_str().unwrap(), "--index", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    let bytes = fs::read(there.path().join("x.npy")).unwrap();
    let array = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(array.shape(), [2, 128]);
    assert_eq!(array.into_vec::<f32>().unwrap(), vectors(&file).into_values().collect::<Vec<_>>().concat());
    assert!(holds(&fs::read(there.path().join("x.paths.npy")).unwrap(), odd.as_encoded_bytes()));
}

#[test]
fn an_export_has_every_photo_once() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, RowAccessor};
    let there = tempfile::tempdir().unwrap();
    let to = there.path().join("x.parquet");
    let output = run(&["index", "--export", to.to_str().unwrap(), "--index", &file()]);
    assert!(
        output.status.success() && said(&output).contains("x.parquet: the vectors of 240 photos"),
        "{}",
        said(&output)
    );
    let rows = SerializedFileReader::new(fs::File::open(to).unwrap()).unwrap();
    let want = vectors(&drawings().join("x.index"));
    let mut wanted = want.iter();
    for row in rows.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let (path, vector) = wanted.next().unwrap();
        assert_eq!(row.get_string(0).unwrap(), path.to_str().unwrap());
        let values = row.get_list(1).unwrap().elements().iter();
        let values: Vec<f32> =
            values.map(|field| if let Field::Float(value) = field { *value } else { f32::NAN }).collect();
        assert_eq!(&values, vector);
    }
    assert!(wanted.next().is_none());
    fails(&["index", "--export", "x.csv", "--index", &file()], 2, "x.csv: --export must end in .parquet or .npy");
    fails(&["index", "--export", "no/x.npy", "--index", &file()], 2, &format!("no/x.npy: {}", missing("no/x.npy")));
}

#[test]
fn photos_that_look_the_same_are_groups() {
    let there = tempfile::tempdir().unwrap();
    let (photos, file) = (there.path().join("photos"), there.path().join("x.index"));
    fs::create_dir(&photos).unwrap();
    let cat = Image::open(root().join("assets/cat.png")).unwrap();
    let write = |name: &str, change: &dyn Fn(usize, u8) -> u8| {
        let data: Vec<u8> = cat.data().iter().enumerate().map(|(i, value)| change(i, *value)).collect();
        let head = format!("P6 {} {} 255\n", cat.width(), cat.height());
        fs::write(photos.join(name), [head.as_bytes(), &data].concat()).unwrap();
    };
    write("cat.ppm", &|_, value| value);
    write("copy.ppm", &|_, value| value);
    write("lighter.ppm", &|_, value| value.saturating_add(6));
    write("other.ppm", &|i, _| (i * i / 97) as u8);
    write("twin.ppm", &|i, _| (i * i / 97) as u8);
    write("alone.ppm", &|i, _| (i / 3000) as u8);
    index(&file, &[photos.to_str().unwrap()], 0);
    let groups = |more: &[&str]| -> Vec<Vec<String>> {
        let args = [&["search", "--near-duplicates", "--index", file.to_str().unwrap(), "-f", "json"], more].concat();
        let groups: Vec<Vec<Value>> = serde_json::from_str(&stdout(&run(&args))).unwrap();
        let name = |hit: &Value| Path::new(hit["image"].as_str().unwrap()).file_stem().unwrap().display().to_string();
        groups.iter().map(|group| group.iter().map(name).collect()).collect()
    };
    assert_eq!(groups(&[]), [vec!["cat", "copy", "lighter"], vec!["other", "twin"]]);
    assert_eq!(
        groups(&["--min-score", "1.1"]),
        [vec!["cat", "copy"], vec!["other", "twin"]],
        "copies are always the same"
    );
    assert_eq!(groups(&["--min-score", "-1"]).concat().len(), 6);
    let text = stdout(&run(&["search", "--near-duplicates", "--index", file.to_str().unwrap()]));
    assert!(text.contains("\n\n 1.0000  ") && text.lines().count() == 6, "{text}");
    let page = stdout(&run(&["search", "--near-duplicates", "--index", file.to_str().unwrap(), "-f", "html"]));
    assert!(page.contains("<h2>3 photos</h2>") && page.matches("<img ").count() == 5);
}

/// Needs a shell, which takes the quotes of the page's commands.
#[cfg(unix)]
#[test]
fn the_commands_of_the_page_run() {
    let page = fs::read_to_string(root().join("docs/search.md")).unwrap();
    let work = tempfile::tempdir().unwrap();
    fs::create_dir(work.path().join("photos")).unwrap();
    for (number, entry) in drawings().join("photos").read_dir().unwrap().enumerate().take(60) {
        let path = entry.unwrap().path();
        fs::copy(&path, work.path().join("photos").join(path.file_name().unwrap())).unwrap();
        if number == 0 {
            fs::copy(goldens().join("shapes/drawing.png"), work.path().join("photos/example.png")).unwrap();
        }
    }
    std::os::unix::fs::symlink(goldens().join("shapes"), work.path().join("model")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_vit-gpu")).parent().unwrap().display();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
    let mut ran = Vec::new();
    for line in page.split("```sh\n").skip(1).flat_map(|block| block.split("```").next().unwrap().lines()) {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", line]).current_dir(work.path()).env("PATH", &path);
        command.env("XDG_DATA_HOME", work.path().join("data")).env("HOME", work.path());
        let output = command.env("VIT_GPU_CONFIG", "").env("VIT_GPU_DEVICE", "cpu").output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        // Each gives something: on the terminal, or in its file.
        let told = line.contains(" -o ") || line.contains("vit-gpu index");
        let nothing = said(&output).contains("no two photos") || said(&output).contains("no photo of ");
        assert!(told || nothing || !output.stdout.is_empty(), "{line}: {}", said(&output));
        ran.push(line);
    }
    assert!(ran.len() >= 12, "{ran:?}");
    assert!(work.path().join("data/vit-gpu/photos.index").exists());
    for name in ["found.html", "same.html", "vectors.parquet", "vectors.npy", "vectors.paths.npy"] {
        assert!(work.path().join(name).exists(), "{name}");
    }
}
