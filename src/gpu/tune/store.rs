//! Choices on disk: one JSON file per adapter, driver, precision and version of this crate. Losing it costs a second trial,
//! so nothing here is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::gpu::adapter::AdapterReport;
use crate::gpu::cache;
use crate::gpu::kernels::Capabilities;

#[derive(Default)]
pub struct Store {
    file: Option<PathBuf>,
    known: Known,
}

#[derive(Default, Serialize, Deserialize)]
struct Known {
    /// Shape class to kernel.
    choices: BTreeMap<String, String>,
    /// Kernels that failed here, and how.
    dropped: BTreeMap<String, String>,
    /// The kernel that was being tried when the process last wrote.
    trying: Option<String>,
}

impl Store {
    pub fn open(report: &AdapterReport, capabilities: Capabilities) -> Store {
        let Capabilities { precision, .. } = capabilities;
        Store::at(cache::file(report, &format!("kernels-{}.json", precision.name())))
    }

    fn at(file: Option<PathBuf>) -> Store {
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let mut known: Known = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if let Some(kernel) = known.trying.take() {
            known.dropped.entry(kernel).or_insert_with(|| "the device or the process died while it was tried".into());
        }
        Store { file, known }
    }

    pub fn choice(&self, class: &str) -> Option<&str> {
        let kernel = self.known.choices.get(class)?;
        (!self.known.dropped.contains_key(kernel)).then_some(kernel)
    }

    pub fn choose(&mut self, class: &str, kernel: &str) {
        self.known.choices.insert(class.to_owned(), kernel.to_owned());
        self.write();
    }

    pub fn dropped(&self) -> &BTreeMap<String, String> {
        &self.known.dropped
    }

    pub fn drop_kernel(&mut self, kernel: &str, reason: &str) {
        self.known.dropped.insert(kernel.to_owned(), reason.to_owned());
        self.write();
    }

    pub fn trying(&mut self, kernel: Option<&str>) {
        self.known.trying = kernel.map(str::to_owned);
        self.write();
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        if let Ok(text) = serde_json::to_vec_pretty(&self.known) {
            cache::write(file, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_and_failures_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("deeper").join("kernels.json"));
        let mut store = Store::at(file.clone());
        store.choose("linear", "a");
        store.choose("attention", "b");
        store.drop_kernel("c", "wrong numbers");
        store.trying(Some("b"));
        // As if the process had died there.
        let store = Store::at(file.clone());
        assert_eq!(store.choice("linear"), Some("a"));
        assert_eq!(store.choice("attention"), None);
        assert_eq!(store.dropped().keys().collect::<Vec<_>>(), ["b", "c"]);
        std::fs::write(file.as_ref().unwrap(), "{").unwrap();
        assert_eq!(Store::at(file).choice("linear"), None);
    }
}
