//! `vit-gpu models`: the short names, and what the cache holds.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;
use vit_gpu::internals::hub::{self, Cached, Settings};

use super::options::Format;
use super::sizes::in_bytes;
use super::{Ended, Failure, Outcome};

/// List models that have a short name and those in the cache, or remove one from the cache
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Output format: text or JSON
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
}

#[derive(Subcommand)]
enum Action {
    /// Delete a model from the cache, with all its revisions
    Remove {
        /// A name on the hub (owner/name) or a short name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub fn run(args: &Args) -> Ended {
    let settings = Settings::from_env();
    if let Some(Action::Remove { name }) = &args.action {
        let Some(freed) = hub::remove(name, &settings)? else {
            return Err(Failure::Usage(format!("{name}: it is not in the cache ({})", settings.cache.display())));
        };
        log::info!("{name}: removed from the cache, {} freed", in_bytes(freed));
        return Ok(Outcome::Done);
    }
    let (short, other): (Vec<Cached>, Vec<Cached>) =
        hub::cached(&settings)?.into_iter().partition(|model| hub::short_names().any(|short| short.repo == model.repo));
    // Only what this program can run is listed.
    let opens = |model: &Cached| model.folder.as_ref().is_some_and(|folder| vit_gpu::Model::open(folder).is_ok());
    let other: Vec<Cached> = other.into_iter().filter(opens).collect();
    match args.format {
        Format::Text => text(&settings, &short, &other)?,
        Format::Json => as_json(&settings, &short, &other)?,
    }
    Ok(Outcome::Done)
}

/// The model of a short name, if it is in the cache.
fn find<'a>(cached: &'a [Cached], repo: &str) -> Option<&'a Cached> {
    cached.iter().find(|model| model.repo == repo)
}

fn text(settings: &Settings, short: &[Cached], other: &[Cached]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for model in hub::short_names() {
        let cached = find(short, model.repo).map_or(String::new(), |cached| match cached.folder {
            Some(_) => format!("; in the cache, {}", in_bytes(cached.bytes)),
            None => format!("; partly in the cache, {}", in_bytes(cached.bytes)),
        });
        writeln!(out, "{:<16}{}", model.name, model.repo)?;
        writeln!(out, "{:16}{}{cached}", "", model.purpose)?;
        let (size, knows) = (model.image_size, model.knows);
        writeln!(out, "{:16}{} M parameters, {size}x{size} pixels, {knows}, {}", "", model.parameters, model.licence)?;
    }
    writeln!(
        out,
        "\nin the cache ({}){}",
        settings.cache.display(),
        if other.is_empty() { ": no other models" } else { ":" }
    )?;
    for model in other {
        writeln!(out, "{:>10}  {}", in_bytes(model.bytes), model.repo)?;
    }
    Ok(())
}

fn as_json(settings: &Settings, short: &[Cached], other: &[Cached]) -> io::Result<()> {
    let models: Vec<_> = hub::short_names()
        .map(|model| {
            let cached = find(short, model.repo);
            json!({
                "name": model.name,
                "repo": model.repo,
                "purpose": model.purpose,
                "licence": model.licence,
                "parameters": model.parameters.parse::<f64>().ok().map(|millions| 1e6 * millions),
                "image_size": model.image_size.parse::<u32>().ok(),
                "knows": model.knows,
                "cached": cached.is_some_and(|cached| cached.folder.is_some()),
                "cached_bytes": cached.map_or(0, |cached| cached.bytes),
            })
        })
        .collect();
    let other: Vec<_> = other
        .iter()
        .map(|model| json!({ "repo": model.repo, "folder": model.folder, "cached_bytes": model.bytes }))
        .collect();
    let report = json!({ "cache": settings.cache, "short_names": models, "other": other });
    writeln!(io::stdout().lock(), "{report:#}")
}
