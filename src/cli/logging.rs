//! What is said on stderr: errors as `error: …`, everything else as it is, above a progress bar if there is one.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::progress;

/// How much is said on stderr.
#[derive(clap::Args)]
pub struct Verbosity {
    /// Print nothing but errors on stderr
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more on stderr: the model, the device, the chosen kernels; -vv adds warnings of wgpu and drivers
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Hides the progress bar while a line is printed.
struct AboveTheBar(env_logger::Logger);

impl Log for AboveTheBar {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            progress::hidden(|| self.0.log(record));
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// From now on, lines of the log are printed. `RUST_LOG` takes the place of `-q` and `-v`.
pub fn start(verbosity: &Verbosity) {
    let mut builder = env_logger::Builder::new();
    let own = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Info,
        (_, 1) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let others = if verbosity.verbose > 1 { LevelFilter::Warn } else { LevelFilter::Off };
    builder.filter_level(others).filter_module("vit_gpu", own).parse_default_env();
    builder.format(|line, record| match record.level() {
        Level::Error if record.target().starts_with("vit_gpu") => {
            let style = line.default_level_style(Level::Error);
            writeln!(line, "{style}error:{style:#} {}", record.args())
        }
        _ if record.target().starts_with("vit_gpu") => writeln!(line, "{}", record.args()),
        _ => writeln!(line, "{}: {}", record.target(), record.args()),
    });
    let logger = builder.build();
    log::set_max_level(logger.filter());
    // It fails only if there is a logger already.
    let _ = log::set_boxed_logger(Box::new(AboveTheBar(logger)));
}
