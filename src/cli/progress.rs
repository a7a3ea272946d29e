//! A progress bar that appears after one second, and only if stderr is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar; dropping it removes it from the terminal.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn bar(total: usize, quiet: bool) -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} images, {per_sec}, {eta} left");
        Progress::start(ProgressBar::new(total as u64), style, quiet)
    }

    /// For a download whose size is told when it begins.
    pub fn download(quiet: bool) -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        Progress::start(ProgressBar::new(0), style, quiet)
    }

    pub fn spinner(what: &'static str, quiet: bool) -> Progress {
        let bar = ProgressBar::new_spinner().with_message(what);
        Progress::start(bar, ProgressStyle::with_template("{spinner} {msg} ({elapsed})"), quiet)
    }

    fn start(bar: ProgressBar, style: Result<ProgressStyle, indicatif::style::TemplateError>, quiet: bool) -> Progress {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        if let Ok(style) = style {
            bar.set_style(style);
        }
        if !quiet {
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

    /// What was there when a download began counts for neither its rate nor the time left.
    pub fn begin(&self, done: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(done);
        self.0.reset_eta();
    }

    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Hides the bar while `print` runs.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
