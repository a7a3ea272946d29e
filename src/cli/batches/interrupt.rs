//! Ctrl-C: the first asks for an orderly end, the second ends the program.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::INTERRUPTED;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on, Ctrl-C is noted instead of ending the program at once.
pub fn catch() {
    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(|| {
        let caught = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                std::process::exit(INTERRUPTED.into());
            }
        });
        // Where it can't be caught, it ends the program, which loses no more than an unfinished batch.
        if let Err(error) = caught {
            log::debug!("Ctrl-C ends the program at once: {error}");
        }
    });
}

/// Whether the user wants the run to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
