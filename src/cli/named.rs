//! Models by name, wherever a command takes a model.

use std::sync::{Mutex, PoisonError};

use vit_gpu::internals::checkpoint::{Checkpoint, Place};
use vit_gpu::internals::place_of;

use super::progress::Progress;

/// The place of a model: the file or folder of this name, or what the hub and its cache have under it; of an adapter also the
/// place of its base model. What is neither stays as it is.
pub fn located(model: &str) -> vit_gpu::Result<Place> {
    // A command that opens a model several times asks once, and all have the same commit.
    static ASKED: Mutex<Vec<(String, Place)>> = Mutex::new(Vec::new());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, place)) = asked.iter().find(|(name, _)| name == model) {
        return Ok(place.clone());
    }
    let place = place_of(model, fetch)?;
    asked.push((model.to_owned(), place.clone()));
    Ok(place)
}

/// Opens a model that may be named; results show the name as it was given.
pub fn opened(model: &str, open: impl FnOnce(&Place) -> vit_gpu::Result<Checkpoint>) -> vit_gpu::Result<Checkpoint> {
    let mut checkpoint = open(&located(model)?)?;
    model.clone_into(&mut checkpoint.name);
    Ok(checkpoint)
}

/// Takes a model from the hub or its cache, with a progress bar; a line says so if the hub can't be reached.
pub fn fetch(name: &str) -> vit_gpu::Result<vit_gpu::Pulled> {
    let bar = Progress::download();
    let mut begun = false;
    let pulled = vit_gpu::pull(name, |progress| {
        if let vit_gpu::Progress::Download { done, of } = progress {
            if begun {
                bar.set(done)
            } else {
                bar.begin(done, of)
            }
            begun = true;
        }
    })?;
    drop(bar);
    if let Some(note) = &pulled.note {
        log::info!("{name}: {note}");
    }
    Ok(pulled)
}
