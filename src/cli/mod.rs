//! The command line: arguments in, results on stdout, everything else on stderr, exit codes 0, 1 and 2.

mod attention;
mod batches;
mod bench;
mod classify;
mod config;
mod convert;
mod devices;
mod distance;
mod doctor;
mod embed;
mod eval;
mod folders;
mod forward;
mod head;
mod hints;
mod index;
mod info;
mod inputs;
mod labelled;
mod labels;
mod logging;
mod models;
mod named;
mod options;
mod outputs;
mod preprocess;
mod probe;
mod progress;
mod pull;
mod report;
mod search;
mod shell;
mod sizes;
mod sort;
mod verify;
mod watch;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Vision Transformers on any GPU: safetensors in, PyTorch's numbers out.
#[derive(Parser)]
#[command(name = "vit-gpu", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    verbosity: logging::Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name what is in images
    Classify(classify::Args),
    /// Write a vector for each image, or the vectors of its tokens or patches
    Embed(embed::Args),
    Attention(attention::Args),
    Eval(eval::Args),
    Probe(probe::Args),
    Index(index::Args),
    Search(search::Args),
    Watch(watch::Args),
    /// Run tensors that are already preprocessed through the model
    Forward(forward::Args),
    /// Preprocess an image and write the tensor that the model is given
    Preprocess(preprocess::Args),
    /// Write a model as safetensors in timm's names, with its whole configuration
    Convert(convert::Args),
    Pull(pull::Args),
    Models(models::Args),
    /// List adapters, and say which one `auto` takes and why
    Devices(devices::Args),
    Doctor(doctor::Args),
    /// Show a model's family, configuration and layers
    Info(info::Args),
    /// Compare a GPU with the processor, layer by layer, in every precision and with every kind of kernel
    Verify(verify::Args),
    /// Measure speed for each batch size, after checking the results
    Bench(bench::Args),
    /// Show the defaults of the model, the device and the batch size, and where each comes from
    Config(config::Args),
    /// Print a script that completes arguments in a shell
    Completions(shell::Completions),
    /// Print the program's manual page, or write those of all commands to a folder
    Man(shell::Man),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything was done.
    Done,
    /// An input failed; everything else was done.
    InputFailed,
    /// The user ended it early.
    Interrupted,
}

/// The exit code of a program that Ctrl-C ends.
const INTERRUPTED: u8 = 130;

/// Why a command could not go on.
#[derive(Debug)]
enum Failure {
    /// What was asked for can't be done so.
    Usage(String),
    /// An error of the library.
    Engine(vit_gpu::Error),
    /// Writing results failed.
    Output(io::Error),
}

impl From<vit_gpu::Error> for Failure {
    fn from(error: vit_gpu::Error) -> Self {
        Failure::Engine(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

type Ended = Result<Outcome, Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    // A decoder that panics costs its file alone, which the file's error says.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !vit_gpu::internals::preprocess::is_decoding() {
            print(info);
        }
    }));
    let defaults = config::Defaults::read();
    let command = Cli::command();
    let command = match &defaults {
        Ok(defaults) => defaults.apply(command),
        Err(_) => command,
    };
    let parsed = Cli::from_arg_matches(&command.clone().get_matches_from(arguments()));
    let cli = parsed.unwrap_or_else(|error| error.exit());
    logging::start(&cli.verbosity);
    let defaults = match defaults {
        Ok(defaults) => defaults,
        Err(failure) => return end(Err(failure)),
    };
    end(match cli.command {
        Command::Classify(args) => classify::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Attention(args) => attention::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Index(args) => index::run(&args, &defaults),
        Command::Search(args) => search::run(&args),
        Command::Watch(args) => watch::run(&args, &defaults),
        Command::Forward(args) => forward::run(&args),
        Command::Preprocess(args) => preprocess::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args, &defaults),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
    })
}

/// The arguments. Shells expand `*.jpg`, but not on Windows.
fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
    #[cfg(windows)]
    return wild::args_os();
    #[cfg(not(windows))]
    return std::env::args_os();
}

/// The exit code of a command that ended like this; an error is printed.
fn end(ended: Ended) -> ExitCode {
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::InputFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        // The reader of the output has closed the pipe, as in `vit-gpu classify photos | head -1`. That is not an error.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => fail(&format!("results could not be written: {error}"), 2),
        Err(Failure::Usage(reason)) => fail(&reason, 2),
        Err(Failure::Engine(error)) => fail(&hints::with_hint(&error), if error.is_input() { 1 } else { 2 }),
    }
}

fn fail(reason: &str, code: u8) -> ExitCode {
    log::error!("{reason}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
