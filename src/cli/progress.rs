//! A progress bar that appears after one second, and only if stderr is a terminal.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

/// The bar that is shown, if any.
static SHOWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

thread_local! {
    /// Whether this thread hides the bar now.
    static HIDING: Cell<bool> = const { Cell::new(false) };
}

/// Hides the bar while `print` runs.
pub fn hidden<R>(print: impl FnOnce() -> R) -> R {
    // The bar is locked while `print` runs, and the lock waits for ever where the same thread takes it once more.
    if HIDING.get() {
        return print();
    }
    let bar = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    let Some(bar) = bar else { return print() };
    HIDING.set(true);
    let printed = bar.suspend(print);
    HIDING.set(false);
    printed
}

/// A progress bar; dropping it removes it from the terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for so many images, of which the first `done` need nothing more.
    pub fn bar(total: usize, done: usize) -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} images, {per_sec}, {eta} left{msg}");
        let bar = ProgressBar::new(total as u64).with_position(done as u64);
        bar.reset_eta();
        Progress::start(bar, style)
    }

    /// For a download whose size is told when it begins.
    pub fn download() -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        Progress::start(ProgressBar::new(0), style)
    }

    pub fn spinner(what: &'static str) -> Progress {
        let bar = ProgressBar::new_spinner().with_message(what);
        Progress::start(bar, ProgressStyle::with_template("{spinner} {msg} ({elapsed})"))
    }

    fn start(bar: ProgressBar, style: Result<ProgressStyle, indicatif::style::TemplateError>) -> Progress {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        if let Ok(style) = style {
            bar.set_style(style);
        }
        // With --quiet there is no bar.
        if log::max_level() >= log::Level::Info {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
            let later = bar.downgrade();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                if let Some(bar) = later.upgrade().filter(|bar| !bar.is_finished()) {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.enable_steady_tick(Duration::from_millis(200));
                }
            });
        }
        Progress(bar)
    }

    pub fn advance(&self, by: usize) {
        self.0.inc(by as u64);
    }

    /// Says behind the bar which stage the others wait for.
    pub fn limited_by(&self, stage: &'static str) {
        self.0.set_message(format!(", limited by {stage}"));
    }

    /// What was there when a download began counts for neither its rate nor the time left.
    pub fn begin(&self, done: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(done);
        self.0.reset_eta();
    }

    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_while_the_bar_is_hidden_may_hide_it_again() {
        let bar = ProgressBar::new(1);
        bar.set_draw_target(ProgressDrawTarget::hidden());
        *SHOWN.lock().unwrap() = Some(bar.downgrade());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            hidden(|| hidden(|| ()));
            // And from then on as before: another thread waits while this one has the bar.
            sender.send(hidden(|| HIDING.get()))
        });
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
