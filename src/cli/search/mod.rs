//! `vit-gpu search`: photos of an index that fit a description, or look like another photo.

mod print;
mod query;
mod sheet;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use vit_gpu::index::Index;

use super::index::{IndexOption, Maker};
use super::options::{ImageOptions, RunOptions};
use super::outputs::{Format, write_whole};
use super::{Ended, Failure, Outcome};
use print::{About, Found};
use query::{Part, vector};

/// Find photos of an index by describing them, or by a photo that they look like
///
/// The model is the one that made the index (see `vit-gpu index`). Descriptions need a model of images and texts (CLIP, SigLIP).
#[derive(clap::Args)]
pub struct Args {
    /// A description in words, or a photo: what is the name of a file is a photo
    #[arg(required_unless_present_any = ["plus", "near_duplicates"], value_name = "WORDS|PHOTO")]
    query: Option<OsString>,
    #[command(flatten)]
    index: IndexOption,
    /// Take everything for words, even the names of files
    #[arg(long)]
    text: bool,
    /// Add this to the query; may be given several times
    #[arg(long, value_name = "WORDS|PHOTO")]
    plus: Vec<OsString>,
    /// Take this away from the query; may be given several times
    #[arg(long, value_name = "WORDS|PHOTO")]
    minus: Vec<OsString>,
    /// List groups of photos that look the same instead; with a --min-score other than 0.97, those more or less alike
    #[arg(long, conflicts_with_all = ["query", "plus", "minus", "text", "top"])]
    near_duplicates: bool,
    /// How many photos are listed
    #[arg(long, short = 'k', value_name = "N", default_value_t = 10)]
    top: usize,
    /// List only photos with this score or more: the cosine of their vector and the query's, at most 1
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Output format: text, one JSON array, one JSON object per line, or a page with the photos [default: what --output ends in, else
    /// text]
    #[arg(long, short = 'f', value_name = "text|json|jsonl|html", value_parser = format)]
    format: Option<Format>,
    /// Write to this file; its ending is the format [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

/// What `--output` may end in.
const FILES: [Format; 4] = [Format::Text, Format::Json, Format::Jsonl, Format::Html];
/// From which cosine on two photos count as the same.
const ALIKE: f32 = 0.97;

fn format(text: &str) -> Result<Format, String> {
    let named = [("text", Format::Text), ("json", Format::Json), ("jsonl", Format::Jsonl), ("html", Format::Html)];
    let found = named.iter().find(|(name, _)| *name == text);
    found.map(|(_, format)| *format).ok_or_else(|| "expected text, json, jsonl or html".to_owned())
}

pub fn run(args: &Args) -> Ended {
    let format = match (args.format, &args.output) {
        (Some(format), _) => format,
        (None, Some(path)) => Format::of(path, &FILES)?,
        (None, None) => Format::Text,
    };
    if args.min_score.is_some_and(f32::is_nan) {
        return Err(Failure::Usage("--min-score is not a number".to_owned()));
    }
    let file = args.index.file()?;
    if !file.exists() {
        return Err(Failure::Usage(format!(
            "{}: there is no index yet: `vit-gpu index DIR` makes one",
            file.display()
        )));
    }
    // The vectors are needed once: to keep them in memory would only take time.
    let index = Index::open(&file)?.in_memory(false);
    let reading = args.image.reading();
    let (found, about) = if args.near_duplicates { alike(args, &index)? } else { nearest(args, &index, &file)? };
    let written = found.written(format, &about, &reading)?;
    match &args.output {
        Some(output) => write_whole(output, |mut out| Ok(out.write_all(&written)?))?,
        None => std::io::stdout().lock().write_all(&written)?,
    }
    Ok(Outcome::Done)
}

fn alike(args: &Args, index: &Index) -> Result<(Found, About), Failure> {
    let least = args.min_score.unwrap_or(ALIKE);
    let groups = index.near_duplicates(least)?;
    if groups.is_empty() {
        log::info!("no two photos have a score of {least} or more");
    }
    let photos: usize = groups.iter().map(Vec::len).sum();
    let line = format!("{} groups of {photos} photos, whose vectors have a cosine of {least} or more", groups.len());
    Ok((Found::Groups(groups), About { title: "Photos that look the same".to_owned(), line }))
}

fn nearest(args: &Args, index: &Index, file: &Path) -> Result<(Found, About), Failure> {
    let mut parts = Vec::new();
    for (plus, part) in args.query.iter().chain(&args.plus).map(|part| (true, part)) {
        parts.push((plus, Part::of(part, args.text)?));
    }
    for part in &args.minus {
        parts.push((false, Part::of(part, args.text)?));
    }
    let maker = Maker::of(file, &args.run, args.image.no_exif, None)?;
    let session = maker.session_for_queries(args.run.precision)?;
    let mut model = maker.model(&session)?;
    // Queries may be embedded in another precision than photos, with hardly another result.
    model.precision.clone_from(&index.model().precision);
    if let Some(difference) = index.model().difference(&model) {
        return Err(Failure::Usage(format!("{}: {difference}", file.display())));
    }
    let image = ImageOptions { no_exif: maker.no_exif, truncated: args.image.truncated };
    let query = vector(&session, &parts, &image.reading())?;
    let hits = index.search_above(&query, args.top, args.min_score.unwrap_or(f32::NEG_INFINITY))?;
    if hits.is_empty() {
        log::info!("no photo of {} has such a score", file.display());
    }
    let mut title = String::new();
    for (plus, part) in &parts {
        let sign = if *plus { "plus" } else { "minus" };
        title += &if title.is_empty() { part.name() } else { format!(" {sign} {}", part.name()) };
    }
    let line = format!("the {} most similar photos of {}", hits.len(), file.display());
    Ok((Found::Hits(hits), About { title, line }))
}
