//! `index --status`: what is in an index.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;
use vit_gpu::index::Index;

use super::super::options::Format;
use super::super::outputs::named_record;
use super::super::{Ended, Outcome};

pub fn run(file: &Path, format: Format) -> Ended {
    let index = Index::open(file)?;
    let entries = index.entries()?;
    let failed: Vec<_> = entries.iter().filter(|entry| entry.error.is_some()).collect();
    let photos = entries.len() - failed.len();
    let folders: Vec<_> = index
        .folders()?
        .into_iter()
        .map(|folder| {
            let count = entries.iter().filter(|entry| entry.path.starts_with(&folder) && entry.error.is_none()).count();
            let there = folder.is_dir();
            (folder, count, there)
        })
        .collect();
    let model = index.model();
    let mut out = io::stdout().lock();
    if format == Format::Json {
        let folders: Vec<_> = folders
            .iter()
            .map(|(folder, photos, there)| {
                let mut record = named_record("folder", folder);
                record["photos"] = json!(photos);
                record["there"] = json!(there);
                record
            })
            .collect();
        let failed: Vec<_> = failed
            .iter()
            .map(|entry| {
                let mut record = named_record("image", &entry.path);
                record["error"] = json!(entry.error);
                record
            })
            .collect();
        let report = json!({
            "index": file, "model": model.name, "precision": model.precision, "options": model.options,
            "dim": model.dim, "photos": photos, "folders": folders, "failed": failed,
        });
        writeln!(out, "{report:#}")?;
        return Ok(Outcome::Done);
    }
    writeln!(out, "index    {}", file.display())?;
    let options: String = model.options.iter().map(|(name, value)| format!(", {name} {value}")).collect();
    writeln!(out, "model    {}, {} values, {}{options}", model.name, model.dim, model.precision)?;
    writeln!(out, "photos   {photos}")?;
    for (folder, photos, there) in folders {
        let missing = if there { "" } else { " (is not there)" };
        writeln!(out, "folder   {}: {photos} photos{missing}", folder.display())?;
    }
    for entry in failed {
        writeln!(out, "failed   {}", entry.error.as_deref().unwrap_or_default())?;
    }
    Ok(Outcome::Done)
}
