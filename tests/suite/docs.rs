//! docs/models.md: its tables are made from the code and from what the goldens measure. VIT_GPU_WRITE_DOCS writes them. And the
//! commands of docs/many-machines.md for several devices.

use std::collections::BTreeMap;

use vit_gpu::internals::model::arch;
use vit_gpu::{Device, Session};

use crate::device;
use crate::models::{golden, largest_difference, models, open};

/// What a golden was made by.
fn reference(golden: &str) -> &'static str {
    let sources = [
        ("hf5_clip_no_labels", "transformers 5.24.0"),
        ("hf5_dinov2_no_labels", "transformers 5.24.0"),
        ("hf5_", "transformers 5.23.0"),
        ("hf_", "transformers 4.57.6"),
        ("timm_", "timm 1.0.31"),
        ("torchvision", "torchvision 0.24.1"),
        ("open_clip", "open_clip 3.3.0"),
        ("openai_clip", "open_clip 3.3.0"),
        ("jax_", "timm 1.0.31's reader of .npz"),
        ("meta_", "reference in tests/goldens"),
        ("luc_0_2_0", "vit-pytorch 0.2.0"),
        ("luc_0_6_6", "vit-pytorch 0.6.6"),
        ("luc_0_6_8", "vit-pytorch 0.6.8"),
        ("luc_0_7", "vit-pytorch 0.8.0"),
        ("luc_0_10", "vit-pytorch 0.10.1"),
        ("luc_0_1", "vit-pytorch 0.1.0"),
        ("luc_0_24_mean", "vit-pytorch 0.24.3"),
        ("luc_0_2", "vit-pytorch 0.2.7"),
        ("luc_1_2", "vit-pytorch 1.2.9"),
        ("luc_1_5", "vit-pytorch 1.5.3"),
        ("luc_1_16", "vit-pytorch 1.16.0"),
        ("luc_1_17", "vit-pytorch 1.26.11"),
        ("simple_vit_old", "vit-pytorch 0.40.2"),
        ("simple_vit_1_2", "vit-pytorch 1.2.9"),
        ("simple_vit", "vit-pytorch 1.26.11"),
        ("zup_", "its README and notebook"),
        ("enc_", "torch.nn.TransformerEncoder 2.9.1"),
        ("peft5_", "PEFT 0.21.2 with transformers 5.24.0"),
        ("peft_timm", "PEFT 0.21.2 with timm 1.0.31"),
        ("peft_open_clip", "PEFT 0.21.2 with open_clip 3.3.0"),
        ("peft_", "PEFT 0.21.2 with transformers 4.57.6"),
        ("patchlayer", "reference in tests/goldens"),
        ("per_head", "reference in tests/goldens"),
    ];
    let found = sources.iter().find(|(prefix, _)| golden.starts_with(prefix));
    found.unwrap_or_else(|| panic!("{golden}: what was it made by?")).1
}

/// Each golden: its layout, what sets it apart, its reference, and how far the devices are off.
fn measured(devices: &[Device]) -> BTreeMap<String, (String, Vec<f32>)> {
    let mut rows = BTreeMap::new();
    for folder in models() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let checkpoint = open(&folder);
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let off = devices.iter().map(|device| {
            let options = Session::builder().device(device.clone());
            let session = options.build(checkpoint.clone()).unwrap();
            largest_difference(&folder, &session.forward(&pixels, true).unwrap())
        });
        let off = off.collect();
        let features = checkpoint.config.features();
        let features = if features.is_empty() { "plain".to_owned() } else { features.join(", ") };
        let row = format!("| {} | `{name}` | {features} | {} |", checkpoint.family, reference(&name));
        rows.insert(name, (row, off));
    }
    rows
}

/// Where the text between two marks of the page is.
fn between(page: &str, mark: &str) -> std::ops::Range<usize> {
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let first = page.find(&start).unwrap_or_else(|| panic!("no {start}")) + start.len();
    first..first + page[first..].find(&end).unwrap_or_else(|| panic!("no {end}"))
}

fn architectures() -> String {
    let names: Vec<String> = arch::names().map(|(name, _)| format!("`{name}`")).collect();
    format!("{} names: {}\n", names.len(), names.join(", "))
}

#[test]
fn the_page_of_models_is_what_the_code_says() {
    let path = device::root().join("docs/models.md");
    let mut page = std::fs::read_to_string(&path).unwrap();
    if std::env::var_os("VIT_GPU_WRITE_DOCS").is_some() {
        let mut table = "| layout | golden | apart from a plain ViT | reference | cpu | lavapipe |\n".to_owned();
        table += "|---|---|---|---|---:|---:|\n";
        for (row, off) in measured(&[Device::Cpu, device::request()]).values() {
            table += &format!("{row} {:.1e} | {:.1e} |\n", off[0], off[1]);
        }
        page.replace_range(between(&page, "goldens"), &table);
        page.replace_range(between(&page, "architectures"), &architectures());
        std::fs::write(&path, page).unwrap();
        return;
    }
    assert_eq!(page[between(&page, "architectures")], architectures());
    // The adapter's column is what another test holds to the tolerance.
    let measured = measured(&[Device::Cpu]);
    let rows: Vec<&str> = page[between(&page, "goldens")].lines().skip(2).collect();
    assert_eq!(rows.len(), measured.len(), "rows of the table");
    for (line, (row, off)) in rows.iter().zip(measured.values()) {
        let errors = line.strip_prefix(row.as_str()).unwrap_or_else(|| panic!("{line}\nis not {row}"));
        let stated: Vec<f32> = errors.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
        assert_eq!(stated.len(), 2, "{line}");
        // Another processor rounds otherwise: a multiple is no other result.
        assert!(off[0] <= 4.0 * stated[0] + 1e-6, "{row}: {:e}", off[0]);
    }
}

/// Needs a shell. One processor stands for the page's two devices.
#[cfg(unix)]
#[test]
fn the_commands_for_several_devices_take_each_photo_once() {
    use parquet::file::reader::SerializedFileReader;
    use parquet::record::RowAccessor;
    let page = std::fs::read_to_string(device::root().join("docs/many-machines.md")).unwrap();
    let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(block.contains("-d $n"), "{block}");
    let work = tempfile::tempdir().unwrap();
    let photos: Vec<String> = (0..5).map(|n| format!("photos/{n}/a photo.jpg")).collect();
    for photo in &photos {
        let path = work.path().join(photo);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(device::root().join("tests/goldens/images/small.jpg"), path).unwrap();
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_vit-gpu")).parent().unwrap().display();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-euc", &block.replace("-d $n", "-d cpu")]).current_dir(work.path()).env("PATH", path);
    let ran = shell.env("VIT_GPU_CONFIG", "").output().unwrap();
    assert!(ran.status.success() && work.path().join("labels-1.parquet").exists(), "{ran:?}");
    let mut found = Vec::new();
    for n in 0..2 {
        let file = std::fs::File::open(work.path().join(format!("labels-{n}.parquet"))).unwrap();
        let rows = SerializedFileReader::new(file).unwrap().into_iter().map(Result::unwrap);
        found.extend(
            rows.filter(|row| row.get_int(1).is_ok_and(|rank| rank == 1)).map(|row| row.get_string(0).unwrap().clone()),
        );
    }
    found.sort();
    assert_eq!(found, photos);
}
