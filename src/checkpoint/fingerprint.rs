//! What makes a model the same model, whatever its files are called and however they store it.

use sha2::{Digest, Sha256};

use super::Checkpoint;
use crate::error::Result;
use crate::model::{WeightSpec, text_weight_specs, weight_specs};

/// How many values are read at a time.
const MANY: usize = 1 << 20;

impl Checkpoint {
    /// A SHA-256 digest in hexadecimal digits of all that results depend on: the configuration, the preprocessing, the classes,
    /// and every weight's values as f32. Reads all weights.
    ///
    /// # Errors
    /// As for reading weights: [`crate::Error::Io`] where a file has become unreadable.
    pub fn fingerprint(&self) -> Result<String> {
        let mut digest = Sha256::new();
        digest.update(format!("{:?}{:?}{:?}", self.config, self.transform, self.labels));
        self.add(&mut digest, &weight_specs(&self.config)?)?;
        Ok(hex(&digest.finalize()))
    }

    /// The same of the text half: its configuration, its tokenizer's rules, and every weight but the table of tokens, which is
    /// large and useless without the others. Empty for a model without one.
    ///
    /// # Errors
    /// As [`Checkpoint::fingerprint`].
    pub fn text_fingerprint(&self) -> Result<String> {
        let Ok(text) = &self.text else { return Ok(String::new()) };
        let mut digest = Sha256::new();
        digest.update(format!("{text:?}"));
        self.add(&mut digest, &text_weight_specs(&text.config)?[1..])?;
        Ok(hex(&digest.finalize()))
    }

    /// A digest of the configuration and of the names, sizes and times of the files in the model's folder: as long as it is the same,
    /// so is [`Checkpoint::fingerprint`], which takes much longer. `None` for models without a folder, or with files elsewhere.
    #[cfg(feature = "index")]
    pub fn files_stamp(&self) -> Option<String> {
        let folder = self.folder.as_ref().filter(|_| self.merged.is_none())?;
        let mut files: Vec<_> = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        let mut digest = Sha256::new();
        digest.update(format!("{:?}{:?}{:?}{:?}", self.config, self.transform, self.labels, self.text));
        for file in files {
            let metadata = file.metadata().ok()?;
            digest.update(format!("{file:?}{}{:?}", metadata.len(), metadata.modified().ok()?));
        }
        Some(hex(&digest.finalize()))
    }

    fn add(&self, digest: &mut Sha256, specs: &[WeightSpec]) -> Result<()> {
        for spec in specs {
            digest.update(format!("{}{:?}", spec.name, spec.shape));
            let width = spec.shape[1..].iter().product::<usize>().max(1);
            let rows = spec.shape[0];
            let together = (MANY / width).clamp(1, rows);
            let mut values = vec![0.0f32; together * width];
            for first in (0..rows).step_by(together) {
                let part = &mut values[..(rows - first).min(together) * width];
                self.loader.load(&spec.name, first, part)?;
                digest.update(bytemuck::cast_slice(part));
            }
        }
        Ok(())
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
