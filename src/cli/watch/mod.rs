//! `vit-gpu watch`: does for photos, as they arrive, what `index` or `classify` does for those that are there.

mod events;
mod stream;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vit_gpu::index::IndexWriter;
use vit_gpu::{Error, Session};

use super::batches::interrupt;
use super::classify::{Namer, at_least_one};
use super::config::Defaults;
use super::folders::{FolderOptions, images_in, is_image};
use super::head::HeadOptions;
use super::index::{
    Done, Folder, IndexOption, Knows, Maker, Means, Plan, checked, chosen, compact, named, open, owner, remember,
    update,
};
use super::inputs::Input;
use super::labels::LabelOptions;
use super::options::{BatchSize, ImageOptions, RunOptions};
use super::outputs::Format;
use super::{Ended, Failure, Outcome};
use events::{Due, Events};
use stream::Stream;

/// Keep an index up to date while photos arrive, change and go, or print the classes of each photo that arrives
///
/// It first does what `vit-gpu index` does, and then waits for changes, until Ctrl-C. With --format jsonl or --output there is no index:
/// every photo that arrives gets a line, as `vit-gpu classify -f jsonl` prints it.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of photos [default: those of the index]
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    index: IndexOption,
    /// Also watch files and folders whose names begin with a dot
    #[arg(long, requires = "folders")]
    hidden: bool,
    /// Read a file when it has not changed for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    settle: f64,
    /// Print a JSON object for every photo that arrives or is removed, on a line of its own
    #[arg(long, short = 'f', value_name = "jsonl", value_parser = jsonl, conflicts_with = "index_file")]
    format: Option<Format>,
    /// Append these lines to this file, which ends in .jsonl
    #[arg(long, short, value_name = "FILE.jsonl", conflicts_with = "index_file")]
    output: Option<PathBuf>,
    /// How many classes a line has [default: 5, or with --threshold all]
    #[arg(long, short = 'k', value_name = "K", value_parser = at_least_one, conflicts_with = "index_file")]
    top_k: Option<usize>,
    /// Print only classes with this score or more
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, conflicts_with = "index_file")]
    threshold: Option<f32>,
    #[command(flatten)]
    labels: LabelOptions,
    #[command(flatten)]
    head: HeadOptions,
    /// How many images are run together: a number or auto
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    batch_size: BatchSize,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

fn jsonl(text: &str) -> Result<Format, String> {
    if text == "jsonl" { Ok(Format::Jsonl) } else { Err("expected jsonl".to_owned()) }
}

/// What is kept up to date.
trait Keeper: Knows {
    /// Takes what is there at the beginning.
    fn begin(&mut self, plan: &Plan) -> Result<Outcome, Failure>;
    /// Takes what has changed.
    fn apply(&mut self, plan: &Plan) -> Result<Outcome, Failure>;
}

pub fn run(args: &Args, defaults: &Defaults) -> Ended {
    if !(0.05..=3600.0).contains(&args.settle) {
        return Err(Failure::Usage("--settle takes 0.05 to 3600 seconds".to_owned()));
    }
    let settle = Duration::from_secs_f64(args.settle);
    let named = named(&args.folders, args.hidden)?;
    if args.format.is_some() || args.output.is_some() {
        return lines(args, defaults, &named, settle);
    }
    let labels = args.labels.read(&args.head)?;
    if labels.is_some() || args.head.head.is_some() || args.top_k.is_some() || args.threshold.is_some() {
        return Err(Failure::Usage("classes are printed with --format jsonl or --output FILE.jsonl only".to_owned()));
    }
    let file = args.index.file_to_write()?;
    let maker = Maker::of(&file, &args.run, args.image.no_exif, defaults.model())?;
    let (writer, session) = open(&file, &maker, !named.is_empty(), &args.run, args.image.no_exif)?;
    let session = session.map_or_else(|| checked(&maker, &file), Ok)?;
    let (folders, _) = chosen(&writer, named)?;
    let image = ImageOptions { no_exif: maker.no_exif, truncated: args.image.truncated };
    let means = Means { session: &session, reading: image.reading(), batch_size: args.batch_size };
    let mut keeper = Indexed { writer, means };
    remember(&mut keeper.writer, &folders);
    watch(&mut keeper, &folders, settle)
}

/// Watches without an index.
fn lines(args: &Args, defaults: &Defaults, folders: &[Folder], settle: Duration) -> Ended {
    if let Some((folder, _)) = folders.iter().find(|(folder, _)| !folder.is_dir()) {
        return Err(Failure::Usage(format!("{}: there is no such folder", folder.display())));
    }
    if folders.is_empty() {
        return Err(Failure::Usage("name a folder of photos".to_owned()));
    }
    let labels = args.labels.read(&args.head)?;
    let out: Box<dyn Write> = match &args.output {
        Some(path) => {
            Format::of(path, &[Format::Jsonl])?;
            let file = OpenOptions::new().append(true).create(true).open(path);
            Box::new(file.map_err(|source| Error::Io { path: path.clone(), source })?)
        }
        None => Box::new(io::stdout()),
    };
    let mut run = args.run.clone();
    run.model.model = run.model.model.or_else(|| defaults.model().map(str::to_owned));
    let session: Session = run.session()?;
    let namer = Namer::open(&session, labels.as_ref(), &args.head, (args.top_k, args.threshold))?;
    let (reading, batch_size) = (args.image.reading(), args.batch_size);
    let mut stream = Stream { session: &session, namer, reading, batch_size, out, known: BTreeMap::new() };
    watch(&mut stream, folders, settle)
}

/// An index that is kept up to date.
struct Indexed<'a> {
    writer: IndexWriter,
    means: Means<'a>,
}

impl Knows for Indexed<'_> {
    fn stamp(&self, path: &Path) -> Option<vit_gpu::index::Stamp> {
        self.writer.stamp(path)
    }

    fn below(&self, folder: &Path) -> Vec<PathBuf> {
        self.writer.below(folder)
    }
}

impl Keeper for Indexed<'_> {
    fn begin(&mut self, plan: &Plan) -> Result<Outcome, Failure> {
        self.apply(plan)
    }

    fn apply(&mut self, plan: &Plan) -> Result<Outcome, Failure> {
        let mut done = Done::default();
        let outcome = update(&mut self.writer, &self.means, plan, &mut done)?;
        compact(&mut self.writer, outcome)?;
        log::info!("{}; {} photos are indexed", done.said(), self.writer.photos().len());
        Ok(outcome)
    }
}

/// Takes what is there, and then every change, until the user ends it.
fn watch(keeper: &mut dyn Keeper, folders: &[Folder], settle: Duration) -> Ended {
    interrupt::catch();
    // From before the first look, so that nothing is missed in between.
    let mut events = Events::of(folders, settle)?;
    let mut plan = Plan::of(&*keeper, folders, folders);
    plan.report();
    postpone(&mut plan, &mut events);
    let mut outcome = keeper.begin(&plan)?;
    log::info!(
        "watching {}",
        if let [(folder, _)] = folders { folder.display().to_string() } else { format!("{} folders", folders.len()) }
    );
    while outcome != Outcome::Interrupted {
        let mut plan = match events.due()? {
            Due::All => Plan::of(&*keeper, folders, folders),
            Due::Paths(paths) => changed(&*keeper, &paths, folders, &mut events),
        };
        postpone(&mut plan, &mut events);
        if !plan.inputs.is_empty() || !plan.gone.is_empty() {
            outcome = keeper.apply(&plan)?;
        }
        if interrupt::asked() {
            outcome = Outcome::Interrupted;
        }
    }
    Ok(outcome)
}

/// What has to be done for paths that have changed.
fn changed(known: &dyn Knows, paths: &[PathBuf], folders: &[Folder], events: &mut Events) -> Plan {
    let mut plan = Plan::default();
    for path in paths {
        let Some((folder, hidden)) = owner(path, folders).and_then(|owner| folders.iter().find(|(f, _)| f == owner))
        else {
            continue;
        };
        if !folder.is_dir() {
            events.lose(folder);
            continue;
        }
        let shown = |path: &Path| {
            let inner = path.strip_prefix(folder).unwrap_or(path);
            *hidden || !inner.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
        };
        match path.symlink_metadata() {
            Err(_) => plan.gone.extend(known.below(path)),
            Ok(_) if !shown(path) => {}
            // A folder that was made or moved here, with what is in it.
            Ok(metadata) if metadata.is_dir() => {
                let images = images_in(path, &FolderOptions::new(*hidden));
                images.iter().for_each(|image| look(&mut plan, known, image));
                let there = |path: &PathBuf| path.symlink_metadata().is_ok();
                plan.gone.extend(known.below(path).into_iter().filter(|path| !there(path)));
            }
            Ok(_) if is_image(path) => look(&mut plan, known, &Input::File(path.as_path().into())),
            Ok(_) => {}
        }
    }
    plan.unique();
    plan
}

/// A file that can't be read now is looked at again when it changes.
fn look(plan: &mut Plan, known: &dyn Knows, input: &Input) {
    if let Err(reason) = plan.compare(known, input) {
        log::error!("{}: {reason}", input.name());
    }
}

/// Leaves files for later that may still be written to.
fn postpone(plan: &mut Plan, events: &mut Events) {
    plan.retain(|path| {
        let young = path.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|time| events.is_young(time));
        if young {
            events.later(path);
        }
        !young
    });
}
