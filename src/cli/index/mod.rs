//! `vit-gpu index`: keeps what is known of the photos in some folders, and a vector for each, to be searched.

mod export;
mod place;
mod plan;
mod status;
mod update;

use std::path::{Path, PathBuf};

use vit_gpu::Session;
use vit_gpu::index::IndexWriter;

use super::config::Defaults;
use super::options::{BatchSize, Format, ImageOptions, RunOptions, log_tuning};
use super::{Ended, Failure, Outcome};

pub use place::{IndexOption, Maker};
pub use plan::{Folder, Knows, Plan, owner};
pub use update::{Done, Means, update};

/// Index the photos in folders, so that `vit-gpu search` finds them
///
/// Only photos that are new or have changed are read. Without a folder, all folders of the index are brought up to date. The index
/// belongs to one model; to use another, give it an index of its own with --index.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of photos; they are remembered
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    index: IndexOption,
    /// In these folders, also index files and folders whose names begin with a dot
    #[arg(long, requires = "folders")]
    hidden: bool,
    /// Only write the vectors and paths of an index to this file, for a vector database: .parquet, or .npy with the paths in
    /// FILE.paths.npy
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folders", "prune", "status"])]
    export: Option<PathBuf>,
    /// Only show what is in an index
    #[arg(long, conflicts_with_all = ["folders", "prune"])]
    status: bool,
    /// How --status is printed
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    /// Forget the photos of folders that are not there or empty; without this they are kept
    #[arg(long)]
    prune: bool,
    /// How many images are run together: a number or auto
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    batch_size: BatchSize,
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

pub fn run(args: &Args, defaults: &Defaults) -> Ended {
    if let Some(to) = &args.export {
        return export::run(&args.index.file()?, to);
    }
    if args.status {
        return status::run(&args.index.file()?, args.format);
    }
    let file = args.index.file_to_write()?;
    let named = named(&args.folders, args.hidden)?;
    let maker = Maker::of(&file, &args.run, args.image.no_exif, defaults.model())?;
    let (mut writer, mut session) = open(&file, &maker, !named.is_empty(), &args.run, args.image.no_exif)?;
    let (folders, all) = chosen(&writer, named)?;
    let plan = Plan::of(&writer, &folders, &all);
    plan.report();
    remember(&mut writer, &folders);
    let mut done = Done::default();
    if args.prune {
        prune(&mut writer, &plan, &mut done);
    }
    if session.is_none() && !plan.inputs.is_empty() {
        session = Some(checked(&maker, &file)?);
    }
    let reading = ImageOptions { no_exif: maker.no_exif, truncated: args.image.truncated }.reading();
    let outcome = match &session {
        Some(session) => {
            let means = Means { session, reading, batch_size: args.batch_size };
            let outcome = update(&mut writer, &means, &plan, &mut done)?;
            log_tuning(session);
            outcome
        }
        None => {
            update::forget(&mut writer, &plan, &mut done);
            writer.commit()?;
            Outcome::Done
        }
    };
    compact(&mut writer, outcome)?;
    say(&file, &writer, &plan, done, outcome);
    let failed = !plan.unreadable.is_empty() && outcome == Outcome::Done;
    Ok(if failed { Outcome::InputFailed } else { outcome })
}

/// Folders that a user names, as the index knows them; `hidden` says how they are looked through.
pub fn named(folders: &[PathBuf], hidden: bool) -> Result<Vec<Folder>, Failure> {
    folders.iter().map(|folder| whole(folder).map(|folder| (folder, hidden))).collect()
}

/// Has the index remember these folders.
pub fn remember(writer: &mut IndexWriter, folders: &[Folder]) {
    folders.iter().for_each(|(folder, hidden)| writer.set_folder(folder, Some(*hidden)));
}

/// Writes the vectors anew if more than a quarter of them belong to no photo any more; not when the user wants the run to end.
pub fn compact(writer: &mut IndexWriter, outcome: Outcome) -> Result<(), Failure> {
    let (holes, vectors) = writer.holes();
    if outcome != Outcome::Interrupted && 4 * holes > vectors {
        writer.compact()?;
    }
    Ok(())
}

/// A folder's whole path, by which the index knows it.
fn whole(folder: &Path) -> Result<PathBuf, Failure> {
    // On Windows, paths that are made canonical look strange.
    let canonical = if cfg!(windows) { None } else { folder.canonicalize().ok() };
    let path = canonical.or_else(|| std::path::absolute(folder).ok());
    path.ok_or_else(|| Failure::Usage(format!("{}: this is no path", folder.display())))
}

/// Opens the index to write. The model is opened too if there is no index yet, or the user says which model it must be. A new index
/// needs a folder (`has_folders`).
pub fn open(
    file: &Path,
    maker: &Maker,
    has_folders: bool,
    run: &RunOptions,
    no_exif: bool,
) -> Result<(IndexWriter, Option<Session>), Failure> {
    if !has_folders && maker.made().is_none() {
        return Err(Failure::Usage(format!("{}: there is no such index yet: name a folder of photos", file.display())));
    }
    match maker.made().filter(|_| !Maker::is_asked(run, no_exif)) {
        Some(made) => Ok((IndexWriter::open_as(file, made)?, None)),
        None => {
            let session = maker.session()?;
            Ok((IndexWriter::open_as(file, &maker.model(&session)?)?, Some(session)))
        }
    }
}

/// Opens the index's model, which must still be the one that made it.
pub fn checked(maker: &Maker, file: &Path) -> Result<Session, Failure> {
    let session = maker.session()?;
    let model = maker.model(&session)?;
    match maker.made().and_then(|made| made.difference(&model)) {
        Some(difference) => Err(Failure::Usage(format!("{}: {difference}", file.display()))),
        None => Ok(session),
    }
}

/// The folders to look through, and all folders of the index: those that are named and what is known below them, or all.
pub fn chosen(writer: &IndexWriter, named: Vec<Folder>) -> Result<(Vec<Folder>, Vec<Folder>), Failure> {
    let known = writer.folders();
    for (folder, _) in &named {
        if !folder.is_dir() && !known.contains_key(folder) {
            let reason = if folder.exists() { "this is not a folder" } else { "there is no such folder" };
            return Err(Failure::Usage(format!("{}: {reason}", folder.display())));
        }
    }
    let mut all = named.clone();
    let others = known.iter().filter(|(folder, _)| !named.iter().any(|(named, _)| named == *folder));
    all.extend(others.map(|(folder, hidden)| (folder.clone(), *hidden)));
    let within = |folder: &Path| named.is_empty() || named.iter().any(|(named, _)| folder.starts_with(named));
    Ok((all.iter().filter(|(folder, _)| within(folder)).cloned().collect(), all))
}

/// Forgets folders that are missing, and their photos.
fn prune(writer: &mut IndexWriter, plan: &Plan, done: &mut Done) {
    for (folder, _) in &plan.missing {
        let photos = writer.below(folder);
        photos.iter().for_each(|path| writer.remove(path));
        done.removed += photos.len();
        if !folder.is_dir() {
            writer.set_folder(folder, None);
        }
    }
}

fn say(file: &Path, writer: &IndexWriter, plan: &Plan, done: Done, outcome: Outcome) {
    let photos = writer.photos().values().filter(|known| known.has_vector()).count();
    let undecoded = writer.photos().len() - photos;
    let without = if undecoded > 0 { format!(", and {undecoded} files that are no photos") } else { String::new() };
    let file = file.display();
    if outcome == Outcome::Interrupted {
        let (of, done) = (plan.inputs.len(), done.computed + done.recognised + done.failed);
        log::warn!("stopped after {done} of {of} photos; what was done is kept, and the next run goes on");
    }
    log::info!("{file}: {photos} photos{without}: {}, {} unchanged", done.said(), plan.unchanged);
}
