//! Models that nobody thought of: drawn at random from each library's options by `tests/differential`, kept with the library's
//! own outputs in one archive a library, and run here on the processor.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::{Device, Session};

use crate::compare::{MODEL, worst};
use crate::models::goldens;

/// One drawn model: its files under `model/`, what is expected of it beside them.
struct Drawn {
    name: String,
    folder: PathBuf,
}

impl Drawn {
    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }

    /// The size that `--image-size` asks for, if the case has it.
    fn asked(&self) -> Option<(usize, usize)> {
        let json: serde_json::Value = serde_json::from_str(&self.read("options.json").unwrap()).unwrap();
        let args = json["args"].as_array().unwrap();
        let at = args.iter().position(|arg| arg == "--image-size")?;
        let size = args[at + 1].as_str().unwrap();
        let (h, w) = size.split_once('x').unwrap_or((size, size));
        Some((h.parse().unwrap(), w.parse().unwrap()))
    }

    /// Opens the model as `vit-gpu forward` does: at the size asked for, else at that of the tensor where its library follows it.
    fn open(&self, size: (usize, usize)) -> vit_gpu::Result<Checkpoint> {
        let model = self.folder.join("model");
        let model = model.to_str().unwrap();
        match self.asked() {
            None => Checkpoint::open_for(model, size),
            asked => Checkpoint::open_at(model, asked),
        }
    }

    fn check(&self) -> Result<(), String> {
        let expected = Tensors::open(&self.folder.join("expected.safetensors")).unwrap();
        let (shape, pixels) = expected.values("pixel_values").unwrap();
        let opened = self.open((shape[2], shape[3]));
        if let Some(reason) = self.read("refused.txt") {
            return match opened {
                Err(error) if !error.to_string().contains('\n') => Ok(()),
                Err(error) => Err(format!("refused in several lines: {error}")),
                Ok(checkpoint) if checkpoint.config.img_size != (shape[2], shape[3]) => Ok(()),
                Ok(_) => Err(format!("opens, to be refused for: {}", reason.trim())),
            };
        }
        let options = Session::builder().device(Device::Cpu).threads(1);
        let session = opened.and_then(|checkpoint| options.build(checkpoint));
        let outputs = session.and_then(|session| session.forward(&pixels, true)).map_err(|error| error.to_string())?;
        for name in expected.shapes().map(|(name, _)| name.to_owned()).filter(|name| name != "pixel_values") {
            let (shape, want) = expected.values(&name).unwrap();
            let got = outputs.get(&name).ok_or_else(|| format!("{name} is not given"))?;
            if got.shape != shape {
                return Err(format!("{name} is {:?}, {shape:?} expected", got.shape));
            }
            worst(&got.values, &want, MODEL).map_err(|error| format!("{name}: {error}"))?;
        }
        let logits = expected.shapes().any(|(name, _)| name == "logits");
        if outputs.get("logits").is_some() != logits {
            return Err(format!("logits are {} expected", if logits { "" } else { "not" }));
        }
        Ok(())
    }
}

/// Unpacks an archive; its models by name.
fn unpack(archive: &Path, to: &Path) -> Vec<Drawn> {
    let library = archive.file_stem().unwrap().to_string_lossy().into_owned();
    let mut zip = zip::ZipArchive::new(File::open(archive).unwrap()).unwrap();
    let mut drawn = BTreeMap::new();
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).unwrap();
        let name = entry.name().unwrap().into_owned();
        let (number, file) = name.split_once('/').unwrap();
        let folder = to.join(&library).join(number);
        let beside = ["expected.safetensors", "options.json", "refused.txt"].contains(&file);
        let path = if beside { folder.join(file) } else { folder.join("model").join(file) };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        fs::write(path, bytes).unwrap();
        drawn.insert(number.to_owned(), folder);
    }
    drawn.into_iter().map(|(number, folder)| Drawn { name: format!("{library} {number}"), folder }).collect()
}

#[test]
fn drawn_models_give_their_librarys_numbers_or_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut archives: Vec<_> =
        fs::read_dir(goldens().join("drawn")).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.retain(|path| path.extension().is_some_and(|ending| ending == "zip"));
    archives.sort();
    assert_eq!(archives.len(), 6, "{archives:?}");
    let drawn: Vec<_> = archives.iter().flat_map(|archive| unpack(archive, folder.path())).collect();
    let refused = drawn.iter().filter(|one| one.read("refused.txt").is_some()).count();
    assert!(drawn.len() - refused >= 250, "{refused} of {} models are refused", drawn.len());
    let wrong: Vec<_> = drawn
        .iter()
        .filter_map(|one| {
            one.check().err().map(|error| format!("{}: {error}\n{}", one.name, one.read("options.json").unwrap()))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), drawn.len(), wrong.join("\n"));
}
