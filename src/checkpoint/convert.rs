//! Writing a checkpoint as canonical safetensors with its whole configuration.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use safetensors::{Dtype, View};

use super::{Checkpoint, canonical};
use crate::error::{Error, Result};
use crate::model::{WeightLoader, weight_specs};

/// The number type in which weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// For each tensor the smallest type of the source file that loses nothing.
    AsSource,
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE half).
    F16,
    /// bfloat16: 16-bit floats with the range of f32.
    Bf16,
}

impl std::str::FromStr for Storage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "source" => Ok(Storage::AsSource),
            "f32" => Ok(Storage::F32),
            "f16" => Ok(Storage::F16),
            "bf16" => Ok(Storage::Bf16),
            _ => Err(Error::argument("storage", format!("unknown type `{text}`: source, f32, f16 or bf16"))),
        }
    }
}

/// A tensor to be written: some rows of a canonical weight. Its values are read only when it is written.
struct OutgoingWeight<'a> {
    loader: &'a dyn WeightLoader,
    /// Canonical weight, and its first row that is stored here.
    weight: &'a str,
    first_row: usize,
    shape: Vec<usize>,
    dtype: Dtype,
    /// The error of reading the values, because [`View`] can't return one.
    failed: &'a Mutex<Option<Error>>,
}

impl OutgoingWeight<'_> {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn values(&self) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.len()];
        self.loader.load(self.weight, self.first_row, &mut values)?;
        Ok(values)
    }
}

impl View for &OutgoingWeight<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.values().unwrap_or_else(|error| {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            vec![0.0; self.len()]
        });
        let bytes = match self.dtype {
            Dtype::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
        };
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.len() * self.dtype.bitsize() / 8
    }
}

impl Checkpoint {
    /// Writes `model.safetensors` and `config.json` into `folder`, which is created if necessary: the weights under timm's names,
    /// one tensor at a time, and the complete configuration. Opening the folder gives the same model.
    ///
    /// # Errors
    /// [`Error::Argument`] if the folder has a model already, or if a value does not fit the storage type; [`Error::Io`] and errors of reading.
    pub fn save(&self, folder: &Path, storage: Storage) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let (weights, config) = (folder.join("model.safetensors"), folder.join("config.json"));
        if let Some(there) = [&weights, &config].into_iter().find(|path| path.exists()) {
            let reason = format!("{} is there already: name another folder", there.display());
            return Err(Error::argument("folder", reason));
        }
        let failed = Mutex::new(None);
        let specs = weight_specs(&self.config)?;
        let mut outgoing: Vec<(String, OutgoingWeight<'_>)> = Vec::new();
        for spec in &specs {
            let mut first_row = 0;
            for part in canonical::parts(&spec.name, &spec.shape, &self.config) {
                let shape = part.shape;
                let rows = shape.iter().product::<usize>() / spec.shape[1..].iter().product::<usize>().max(1);
                let (loader, weight) = (&*self.loader, spec.name.as_str());
                let mut view = OutgoingWeight { loader, weight, first_row, shape, dtype: Dtype::F32, failed: &failed };
                view.dtype = self.dtype(&view, storage)?;
                outgoing.push((part.tensor, view));
                first_row += rows;
            }
        }
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        // The file has another name until it is complete.
        let part = folder.join("model.safetensors.part");
        let views = outgoing.iter().map(|(name, view)| (name, view));
        let written = safetensors::serialize_to_file(views, Some(metadata), &part);
        let lost = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = lost {
            // If removing fails too, the first error is still the one to report.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        written.map_err(|error| Error::Io { path: part.clone(), source: std::io::Error::other(error) })?;
        let text = serde_json::to_string_pretty(&canonical::config(self))
            .map_err(|error| Error::config_by("config.json", error))?;
        fs::write(&config, text + "\n").map_err(Error::io(&config))?;
        // The safetensors writer makes files that only their owner can read.
        let permissions = fs::metadata(&config).map_err(Error::io(&config))?.permissions();
        fs::set_permissions(&part, permissions).map_err(Error::io(&part))?;
        fs::rename(&part, &weights).map_err(Error::io(&weights))
    }

    /// The type a tensor is stored in.
    fn dtype(&self, view: &OutgoingWeight<'_>, storage: Storage) -> Result<Dtype> {
        let fits = |dtype| {
            let values = view.values()?;
            Ok(match dtype {
                Dtype::F16 => values.iter().all(|v| half::f16::from_f32(*v).to_f32() == *v),
                Dtype::BF16 => values.iter().all(|v| half::bf16::from_f32(*v).to_f32() == *v),
                _ => true,
            })
        };
        match storage {
            Storage::F32 => Ok(Dtype::F32),
            Storage::Bf16 => Ok(Dtype::BF16),
            Storage::F16 => {
                if view.values()?.iter().any(|v| v.is_finite() && half::f16::from_f32(*v).is_infinite()) {
                    let reason = format!("{} has values beyond f16's range: write bf16 or f32", view.weight);
                    return Err(Error::argument("storage", reason));
                }
                Ok(Dtype::F16)
            }
            Storage::AsSource => {
                for (name, dtype) in [("F16", Dtype::F16), ("BF16", Dtype::BF16)] {
                    if self.dtypes.iter().any(|known| known == name) && fits(dtype)? {
                        return Ok(dtype);
                    }
                }
                Ok(Dtype::F32)
            }
        }
    }
}
