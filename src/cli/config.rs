//! Defaults of options from variables and a small file, and `vit-gpu config`, which says where each comes from.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Command;
use etcetera::BaseStrategy;
use serde::Deserialize;
use serde_json::json;

use super::options::{BatchSize, Format};
use super::{Ended, Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// How the report is printed
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
}

/// What the file may hold.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    model: Option<String>,
    device: Option<String>,
    batch_size: Option<Number>,
}

/// A number, or a text such as `auto`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

/// An option that can be given a default.
struct Setting {
    name: &'static str,
    variable: &'static str,
    /// The option's name among a command's arguments, and the commands that have it.
    option: &'static str,
    commands: &'static [&'static str],
    built_in: &'static str,
    /// The value, and where it was found.
    value: Option<(String, String)>,
}

const MODEL: &[&str] =
    &["classify", "embed", "forward", "preprocess", "convert", "info", "verify", "bench", "eval", "probe"];
const DEVICE: &[&str] = &["classify", "embed", "forward", "eval", "probe", "index", "search", "watch"];
const BATCHES: &[&str] = &["classify", "embed", "eval", "probe", "index", "watch"];

/// The variable that names the file.
const VARIABLE: &str = "VIT_GPU_CONFIG";

/// The defaults that hold here.
pub struct Defaults {
    file: Option<PathBuf>,
    settings: [Setting; 3],
}

impl Defaults {
    /// Reads the variables and the file. A variable comes before the file.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the file can't be read, has an unknown key, or a value that its option does not take.
    pub fn read() -> Result<Defaults, Failure> {
        let file = path();
        let text = match file.as_deref().map(std::fs::read_to_string) {
            Some(Ok(text)) => text,
            // A file that the user names must be there. Where it is looked for without that, it may be missing, or another user's.
            Some(Err(error)) if std::env::var_os(VARIABLE).is_some() => {
                let file = file.unwrap_or_default();
                return Err(Failure::Usage(format!("{}: {error}", file.display())));
            }
            Some(Err(_)) | None => String::new(),
        };
        let name = file.as_ref().map_or(String::new(), |file| file.display().to_string());
        let in_file = parse(&text).map_err(|reason| Failure::Usage(format!("{name}: {reason}")))?;
        let batch_size = in_file.batch_size.map(|size| match size {
            Number::Number(number) => number.to_string(),
            Number::Text(text) => text,
        });
        let setting = |name_of, variable: &'static str, option, commands, built_in, in_file: Option<String>| {
            let given = std::env::var(variable).ok().filter(|value| !value.is_empty());
            let given = given.map(|value| (value, variable.to_owned()));
            let value = given.or_else(|| in_file.map(|value| (value, name.clone())));
            Setting { name: name_of, variable, option, commands, built_in, value }
        };
        let settings = [
            setting("model", "VIT_GPU_MODEL", "model", MODEL, "the built-in CIFAR-10 model", in_file.model),
            setting("device", "VIT_GPU_DEVICE", "device", DEVICE, "auto", in_file.device),
            setting("batch-size", "VIT_GPU_BATCH_SIZE", "batch_size", BATCHES, "auto", batch_size),
        ];
        if let Some((value, source)) = &settings[2].value
            && let Err(reason) = BatchSize::from_str(value)
        {
            return Err(Failure::Usage(format!("{source}: batch-size is `{value}`: {reason}")));
        }
        Ok(Defaults { file, settings })
    }

    /// The model, if there is a default for it. An index that exists has its own.
    pub fn model(&self) -> Option<&str> {
        self.settings[0].value.as_ref().map(|(value, _)| value.as_str())
    }

    /// The same command line, whose options have these defaults.
    pub fn apply(&self, mut command: Command) -> Command {
        for setting in &self.settings {
            let Some((value, _)) = &setting.value else { continue };
            for name in setting.commands {
                command = command.mut_subcommand(name, |command| {
                    command.mut_arg(setting.option, |argument| argument.default_value(value.clone()))
                });
            }
        }
        command
    }
}

/// The file: `VIT_GPU_CONFIG` (none if that is empty), or the one in the user's folder of configurations.
fn path() -> Option<PathBuf> {
    match std::env::var_os(VARIABLE) {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(path.into()),
        None => Some(etcetera::choose_base_strategy().ok()?.config_dir().join("vit-gpu").join("config.toml")),
    }
}

fn parse(text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", error.message().replace('\n', " "))
    })
}

/// `vit-gpu config`.
pub fn run(args: &Args, defaults: &Defaults) -> Ended {
    let there = |path: &Path| if path.exists() { "" } else { " (there is none)" };
    if args.format == Format::Json {
        let settings = defaults.settings.iter().map(|setting| {
            let (value, source) = match &setting.value {
                Some((value, source)) => (value.as_str(), source.as_str()),
                None => (setting.built_in, "built in"),
            };
            (setting.name.to_owned(), json!({"value": value, "from": source, "variable": setting.variable}))
        });
        let mut report = serde_json::Map::from_iter(settings);
        report.insert("file".to_owned(), json!(defaults.file));
        println!("{}", serde_json::Value::Object(report));
        return Ok(Outcome::Done);
    }
    for setting in &defaults.settings {
        match &setting.value {
            Some((value, source)) => println!("{:<11} {value} (from {source})", setting.name),
            None => println!("{:<11} {} (built in; {} changes it)", setting.name, setting.built_in, setting.variable),
        }
    }
    match &defaults.file {
        Some(file) => println!("{:<11} {}{}", "file", file.display(), there(file)),
        None => println!("{:<11} none", "file"),
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_three_keys() {
        let file = parse("model = \"a/b\"\nbatch-size = 8\n").unwrap();
        assert_eq!(file.model.as_deref(), Some("a/b"));
        assert!(matches!(file.batch_size, Some(Number::Number(8))));
        assert!(matches!(parse("batch-size = \"auto\"").unwrap().batch_size, Some(Number::Text(_))));
        let error = parse("device = \"cpu\"\nmodle = 1\n").err().unwrap();
        assert!(error.starts_with("line 2: ") && error.contains("modle") && error.contains("batch-size"), "{error}");
        assert!(parse("device = ").is_err());
    }
}
