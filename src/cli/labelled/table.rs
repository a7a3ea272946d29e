//! Labelled photos in a table of paths and labels.

use std::collections::BTreeMap;
use std::path::Path;

use vit_gpu::Error;

use super::super::Failure;
use super::super::inputs::Input;
use super::Labelled;

/// Reads a CSV file whose first row names the columns `path` and `label`, among others.
///
/// # Errors
/// [`Failure::Usage`] for a missing column, a row without a path or with too few cells, and a table without rows.
pub fn read(file: &Path) -> Result<Labelled, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|source| Error::Io { path: file.to_path_buf(), source })?;
    let wrong = |reason: String| Failure::Usage(format!("{shown}: {reason}"));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(&bytes[..]);
    let header = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|column| column.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let there: Vec<&str> = header.iter().collect();
            wrong(format!("no column is named `{name}` (the first row is: {})", there.join(", ")))
        })
    };
    let (path, label) = (column("path")?, column("label")?);
    let folder = file.parent().unwrap_or(Path::new(""));
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let cell = |column: usize| record.get(column).unwrap_or_default().trim();
        if cell(path).is_empty() {
            return Err(wrong(format!("row {} has no path", row + 2)));
        }
        inputs.push(Input::File(folder.join(cell(path)).into()));
        labels.push(cell(label).to_owned());
    }
    if inputs.is_empty() {
        return Err(wrong("no rows below the first".to_owned()));
    }
    let mut numbers: BTreeMap<&str, usize> = labels.iter().map(|label| (label.as_str(), 0)).collect();
    numbers.values_mut().enumerate().for_each(|(i, number)| *number = i);
    let names = numbers.keys().map(|name| (*name).to_owned()).collect();
    let labels = labels.iter().map(|label| numbers[label.as_str()]).collect();
    Ok(Labelled { source: file.to_path_buf(), inputs, labels, names })
}
