//! How photos that were found are printed.

use std::io::Write;

use serde_json::{Value, json};
use vit_gpu::index::Hit;

use super::super::inputs::Reading;
use super::super::outputs::{Format, named_record};
use super::sheet::{Section, page};

/// Photos that were found for a query, or groups of those that look the same.
pub enum Found {
    Hits(Vec<Hit>),
    Groups(Vec<Vec<Hit>>),
}

/// What a page says above the photos.
pub struct About {
    pub title: String,
    pub line: String,
}

impl Found {
    /// Everything as the bytes of a file.
    pub fn written(&self, format: Format, about: &About, reading: &Reading) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match (self, format) {
            (_, Format::Html) => {
                let page = page(&about.title, &about.line, &self.sections(), reading);
                out = page.map_err(std::io::Error::other)?.into_bytes();
            }
            (Found::Hits(hits), Format::Json) => list(&mut out, hits.iter().map(record))?,
            (Found::Groups(groups), Format::Json) => list(&mut out, groups.iter().map(|group| array(group)))?,
            (Found::Hits(hits), Format::Jsonl) => hits.iter().try_for_each(|hit| writeln!(out, "{}", record(hit)))?,
            (Found::Groups(groups), Format::Jsonl) => {
                groups.iter().try_for_each(|group| writeln!(out, "{}", array(group)))?
            }
            (Found::Hits(hits), _) => lines(&mut out, hits)?,
            (Found::Groups(groups), _) => {
                for (number, group) in groups.iter().enumerate() {
                    if number > 0 {
                        writeln!(out)?;
                    }
                    lines(&mut out, group)?;
                }
            }
        }
        Ok(out)
    }

    fn sections(&self) -> Vec<Section<'_>> {
        match self {
            Found::Hits(hits) => vec![Section { heading: None, hits }],
            Found::Groups(groups) => {
                let heading = |group: &[Hit]| Some(format!("{} photos", group.len()));
                groups.iter().map(|group| Section { heading: heading(group), hits: group }).collect()
            }
        }
    }
}

/// A line for each photo. Names are written as the system has them.
fn lines(out: &mut Vec<u8>, hits: &[Hit]) -> std::io::Result<()> {
    for hit in hits {
        write!(out, "{:7.4}  ", hit.score)?;
        out.extend(hit.path.as_os_str().as_encoded_bytes());
        writeln!(out)?;
    }
    Ok(())
}

fn record(hit: &Hit) -> Value {
    let mut record = named_record("image", &hit.path);
    record["score"] = json!(hit.score);
    record
}

fn array(group: &[Hit]) -> Value {
    group.iter().map(record).collect()
}

fn list(out: &mut Vec<u8>, records: impl Iterator<Item = Value>) -> std::io::Result<()> {
    write!(out, "[")?;
    for (number, record) in records.enumerate() {
        write!(out, "{}\n{record}", if number > 0 { "," } else { "" })?;
    }
    writeln!(out, "\n]")
}
