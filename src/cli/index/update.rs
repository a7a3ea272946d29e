//! Bringing an index up to date.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use vit_gpu::index::{Digest, IndexWriter};
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Result, Session};

use super::super::batches::Batches;
use super::super::inputs::Reading;
use super::super::options::BatchSize;
use super::super::{Failure, Outcome};
use super::plan::Plan;

/// How much work a process that dies may lose: about so long, and so many photos.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
const COMMIT_PHOTOS: usize = 2000;

/// How photos are read and run.
pub struct Means<'a> {
    pub session: &'a Session,
    pub reading: Reading,
    pub batch_size: BatchSize,
}

/// What was done.
#[derive(Clone, Copy, Default)]
pub struct Done {
    /// Photos that the model was run on.
    pub computed: usize,
    /// Photos that were known by their content: moved, copied, or touched.
    pub recognised: usize,
    pub failed: usize,
    pub removed: usize,
}

impl Done {
    /// What was done, as part of a sentence.
    pub fn said(&self) -> String {
        let Done { computed, recognised, failed, removed } = *self;
        let parts =
            [(computed, "read"), (recognised, "known by their content"), (removed, "forgotten"), (failed, "failed")];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if parts.is_empty() { "nothing new".to_owned() } else { parts.join(", ") }
    }
}

/// Reads the photos of a plan, and keeps them about once a second. Photos that are gone are forgotten at the end. However it
/// ends, what was done is kept.
pub fn update(writer: &mut IndexWriter, means: &Means<'_>, plan: &Plan, done: &mut Done) -> Result<Outcome, Failure> {
    let ran = if plan.inputs.is_empty() { Ok(Outcome::Done) } else { read(writer, means, plan, done) };
    if matches!(ran, Ok(Outcome::Done | Outcome::InputFailed)) {
        forget(writer, plan, done);
    }
    let kept = writer.commit();
    let outcome = ran?;
    kept?;
    Ok(outcome)
}

/// Forgets photos that are gone.
pub fn forget(writer: &mut IndexWriter, plan: &Plan, done: &mut Done) {
    plan.gone.iter().for_each(|path| writer.remove(path));
    done.removed += plan.gone.len();
}

fn read(writer: &mut IndexWriter, means: &Means<'_>, plan: &Plan, done: &mut Done) -> Result<Outcome, Failure> {
    let Means { session, reading, batch_size } = *means;
    let batches = Batches { session, inputs: &plan.inputs, reading, batch_size };
    let writer = Mutex::new(writer);
    let digests = Mutex::new(HashMap::new());
    let skips = |number: usize, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        locked(&digests).insert(number, digest);
        locked(&writer).has_content(digest)
    };
    let compute = |pixels: &[Pixels]| session.embed_pixels(pixels);
    let (mut next, mut committed, mut pending) = (0, Instant::now(), 0);
    batches.run_new(0, &skips, compute, |batch| {
        let mut writer = locked(&writer);
        for (input, result) in batch {
            let (path, stamp) = (input.path(), plan.stamps[next]);
            let digest = locked(&digests).remove(&next);
            next += 1;
            match (result, digest) {
                (Ok(Some(vector)), Some(digest)) => {
                    writer.add(path, stamp, digest, &vector)?;
                    done.computed += 1;
                }
                (Ok(_), Some(digest)) => {
                    writer.add_known(path, stamp, digest);
                    done.recognised += 1;
                }
                (Err(error), Some(_)) => {
                    writer.add_failed(path, stamp, &error.to_string());
                    done.failed += 1;
                }
                // It could not be read, which may be otherwise the next time.
                (_, None) => done.failed += 1,
            }
            pending += 1;
        }
        if committed.elapsed() >= COMMIT_AFTER || pending >= COMMIT_PHOTOS {
            writer.commit()?;
            (committed, pending) = (Instant::now(), 0);
        }
        Ok(())
    })
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
