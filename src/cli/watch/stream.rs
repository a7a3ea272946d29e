//! `watch -f jsonl`: a line for every photo that arrives, with its classes, and one for every photo that is removed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use vit_gpu::Session;
use vit_gpu::index::Stamp;

use super::super::batches::Batches;
use super::super::classify::Namer;
use super::super::index::{Knows, Plan};
use super::super::inputs::Reading;
use super::super::options::BatchSize;
use super::super::outputs::{Encode, Format, named_record};
use super::super::{Failure, Outcome};
use super::Keeper;

/// Writes lines.
pub struct Stream<'a> {
    pub session: &'a Session,
    pub namer: Namer<'a>,
    pub reading: Reading,
    pub batch_size: BatchSize,
    pub out: Box<dyn Write>,
    /// Photos that were there at the beginning, or that have a line.
    pub known: BTreeMap<PathBuf, Stamp>,
}

impl Knows for Stream<'_> {
    fn stamp(&self, path: &Path) -> Option<Stamp> {
        self.known.get(path).copied()
    }

    fn below(&self, folder: &Path) -> Vec<PathBuf> {
        self.known.keys().filter(|path| path.starts_with(folder)).cloned().collect()
    }
}

impl Keeper for Stream<'_> {
    /// Photos that are there need no line.
    fn begin(&mut self, plan: &Plan) -> Result<Outcome, Failure> {
        let found = plan.inputs.iter().map(|input| input.path().to_path_buf());
        self.known.extend(found.zip(plan.stamps.iter().copied()));
        Ok(Outcome::Done)
    }

    fn apply(&mut self, plan: &Plan) -> Result<Outcome, Failure> {
        let Stream { session, namer, reading, batch_size, out, known } = self;
        let mut outcome = Outcome::Done;
        if !plan.inputs.is_empty() {
            let batches = Batches { session, inputs: &plan.inputs, reading: *reading, batch_size: *batch_size };
            let rows = namer.rows(Format::Jsonl);
            let mut stamps = plan.stamps.iter();
            outcome = batches.run(
                0,
                |pixels| namer.classes(pixels),
                |batch| {
                    let mut lines = Vec::new();
                    for (input, result) in batch {
                        rows.row(0, input, &result, &mut lines)?;
                        known.extend(stamps.next().map(|stamp| (input.path().to_path_buf(), *stamp)));
                    }
                    Ok(out.write_all(&lines).and_then(|()| out.flush())?)
                },
            )?;
        }
        for path in &plan.gone {
            let mut record = named_record("image", path);
            record["removed"] = json!(true);
            writeln!(out, "{record}")?;
            known.remove(path);
        }
        out.flush()?;
        Ok(outcome)
    }
}
