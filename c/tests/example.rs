//! The example in C: compiled, run, and compared with what the library gives in Rust and what the program gives.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use vit_gpu::{Device, Image, Model, Session};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder that this test was built in, with the library, which cargo does not build for tests.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        // As this test was built, so that nothing is built twice.
        let build = ["build", "--quiet", "--workspace", "--lib", "--bins", "--tests", "--profile", profile];
        let built = Command::new(env!("CARGO")).args(build).current_dir(root()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    })
}

fn compiled(name: &str, source: &Path, flags: &[&str], folder: &Path) -> PathBuf {
    let program = folder.join(name);
    let include = root().join("c/include");
    let built = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .args([OsStr::new("-I"), include.as_os_str(), source.as_os_str(), OsStr::new("-o"), program.as_os_str()])
        .arg("-L")
        .arg(built())
        .args(flags)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(root()).env("LD_LIBRARY_PATH", built()).output().unwrap()
}

/// The program's logits for an image, on the processor.
fn of_the_program(model: &[&str], image: &str, folder: &Path) -> Vec<f32> {
    let [pixels, results] = ["pixels", "results"].map(|name| folder.join(name).with_extension("safetensors"));
    let [pixels, results] = [&pixels, &results].map(|path| path.to_str().unwrap());
    for arguments in [&["preprocess", image, "-o", pixels][..], &["forward", "-d", "cpu", "-i", pixels, "-o", results]]
    {
        let ran = run(&built().join("vit-gpu"), &[arguments, model].concat());
        assert!(ran.status.success(), "{ran:?}");
    }
    let bytes = std::fs::read(results).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = tensors.tensor("logits").unwrap().data().as_chunks::<4>().0;
    values.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

#[test]
fn the_example_gives_the_numbers_of_the_crate_and_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let source = root().join("c/examples/classify.c");
    let program = compiled("classify", &source, &["-lvit_gpu_c"], folder.path());
    let session = |model: Model| Session::builder().device(Device::Cpu).build(model).unwrap();
    let image = Image::open(root().join("assets/cat.png")).unwrap();
    let named = "tests/goldens/models/timm_plain";
    for (model, session) in
        [("-", session(Model::bundled().unwrap())), (named, session(Model::open(root().join(named)).unwrap()))]
    {
        let ran = run(&program, &[model, "cpu", "assets/cat.png"]);
        assert!(ran.status.success(), "{ran:?}");
        let printed = lines(&ran.stdout);
        let best = session.classify(std::slice::from_ref(&image), 3).unwrap().remove(0);
        for (line, class) in printed.iter().zip(&best) {
            let label = class.label.as_deref().unwrap_or_default();
            assert!(line.starts_with(&format!("assets/cat.png\t{}\t{label}\t", class.index)), "{line}");
        }
        let logits: Vec<f32> = printed[3].split(' ').skip(1).map(|value| value.parse().unwrap()).collect();
        let want = session.logits_each(std::slice::from_ref(&image)).unwrap().remove(0).unwrap();
        assert_eq!(logits, want, "nine digits are enough to give an f32 back");
        let model = if model == "-" { vec![] } else { vec!["-m", model] };
        assert_eq!(logits, of_the_program(&model, "assets/cat.png", folder.path()));
    }
}

#[test]
fn failures_are_one_line_and_other_images_have_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled("classify", &root().join("c/examples/classify.c"), &["-lvit_gpu_c"], folder.path());
    let ran = run(&program, &["-", "cpu", "assets/README.md", "assets/cat.png"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(lines(&ran.stderr).iter().any(|line| line.starts_with("assets/README.md: assets/README.md: ")), "{ran:?}");
    assert_eq!(lines(&ran.stdout).len(), 4);
    for (model, device, text) in [("no/such/model", "cpu", "no/such/model"), ("-", "no such gpu", "no such gpu")] {
        let ran = run(&program, &[model, device, "assets/cat.png"]);
        assert_eq!(ran.status.code(), Some(1));
        let said = lines(&ran.stderr);
        assert!(said.iter().any(|line| line.starts_with(&format!("{model}: ")) && line.contains(text)), "{said:?}");
    }
}

/// What a careless program does: null pointers, sizes that don't fit, classes that don't exist.
const CARELESS: &str = r#"
#include <assert.h>
#include <string.h>
#include "vit_gpu.h"

int main(void) {
    assert(strlen(vit_gpu_version()) > 0 && strlen(vit_gpu_error()) == 0);
    assert(vit_gpu_open("", NULL, NULL) == NULL && strlen(vit_gpu_error()) > 0);
    assert(vit_gpu_open(NULL, "cpu", "f7") == NULL && strstr(vit_gpu_error(), "f7") != NULL);
    assert(vit_gpu_open("\xff\xfe", "cpu", NULL) == NULL && strstr(vit_gpu_error(), "UTF-8") != NULL);
    assert(vit_gpu_device(NULL) == NULL && vit_gpu_label(NULL, 0) == NULL && vit_gpu_num_classes(NULL) == 0);
    assert(vit_gpu_image_open(NULL) == NULL && vit_gpu_image_decode(NULL, 3) == NULL);
    assert(vit_gpu_image_rgb((const uint8_t *)"abc", (size_t)-1, (size_t)-1) == NULL);
    vit_gpu_session *session = vit_gpu_open(NULL, "cpu", "f32");
    assert(session != NULL && strlen(vit_gpu_error()) == 0);
    assert(strcmp(vit_gpu_device(session), "cpu") == 0 && strcmp(vit_gpu_label(session, 3), "cat") == 0);
    assert(vit_gpu_label(session, 10) == NULL && strstr(vit_gpu_error(), "10") != NULL);
    uint8_t grey[3 * 4 * 2];
    memset(grey, 128, sizeof grey);
    vit_gpu_image *image = vit_gpu_image_rgb(grey, 4, 2);
    const vit_gpu_image *images[] = {image, image};
    float values[20], vectors[256];
    assert(vit_gpu_logits(session, images, 2, values, 19) == VIT_GPU_FAILED && strstr(vit_gpu_error(), "20") != NULL);
    assert(vit_gpu_logits(session, images, 2, values, 20) == VIT_GPU_OK && memcmp(values, values + 10, 40) == 0);
    assert(vit_gpu_embedding_dim(session) == 128);
    assert(vit_gpu_embed(session, images, 2, vectors, 256) == VIT_GPU_OK && vectors[0] == vectors[128]);
    assert(vit_gpu_logits(session, NULL, 1, values, 10) == VIT_GPU_FAILED);
    const vit_gpu_image *missing[] = {NULL};
    assert(vit_gpu_logits(session, missing, 1, values, 10) == VIT_GPU_FAILED);
    vit_gpu_prediction best[20];
    size_t count = 0;
    assert(vit_gpu_classify(session, image, 0, best, &count) == VIT_GPU_FAILED);
    assert(vit_gpu_classify(session, image, 20, best, &count) == VIT_GPU_OK && count == 10);
    assert(vit_gpu_classify(session, NULL, 1, best, &count) == VIT_GPU_FAILED);
    vit_gpu_image_free(image);
    vit_gpu_image_free(NULL);
    vit_gpu_close(session);
    vit_gpu_close(NULL);
    return 0;
}
"#;

#[test]
fn careless_calls_fail_without_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("careless.c");
    std::fs::write(&source, CARELESS).unwrap();
    let ran = run(&compiled("careless", &source, &["-UNDEBUG", "-lvit_gpu_c"], folder.path()), &[]);
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn the_header_names_every_function() {
    let header = std::fs::read_to_string(root().join("c/include/vit_gpu.h")).unwrap();
    let source = std::fs::read_to_string(root().join("c/src/lib.rs")).unwrap();
    let functions = source.lines().filter(|line| line.contains("extern \"C\" fn "));
    let names = functions.map(|line| line.split_once("fn ").unwrap().1.split_once('(').unwrap().0);
    let missing: Vec<_> = names.clone().filter(|name| !header.contains(&format!("{name}("))).collect();
    assert!(names.count() >= 15 && missing.is_empty(), "{missing:?}");
}
