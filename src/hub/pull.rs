//! The whole way from a name to a folder that can be opened.

use std::path::PathBuf;

use super::api::{Api, Info};
use super::cache::Repo;
use super::download::{Tally, Wanted, download};
use super::lock::Lock;
use super::name::{Name, is_commit};
use super::place::place;
use super::select::{self, Unfit, Weights};
use super::settings::Settings;
use crate::error::{Error, HubFault, Result};

/// A model in the cache.
#[derive(Debug, Clone)]
pub struct Found {
    /// The folder with its files.
    pub folder: PathBuf,
    /// The commit that they are of.
    pub commit: String,
    /// Why the hub was not asked, or why its answer does not count, where that is so.
    pub note: Option<String>,
}

/// Finds a model in the cache, or fetches what the cache lacks of it. `tell` is given the bytes that have come and those that
/// will.
///
/// # Errors
/// [`Error::Hub`]; [`Error::Io`] where the cache can't be read or written.
pub fn pull(given: &str, settings: &Settings, tell: &mut dyn FnMut(u64, u64)) -> Result<Found> {
    let name = Name::parse(given)?;
    let repo = Repo::new(settings, &name.repo);
    let known = repo.commit_of(&name.revision);
    let found = |commit: String, note| Found { folder: repo.snapshot(&commit), commit, note };
    let lacks = known.as_deref().map(|commit| lacks(&repo, commit));
    // What a commit is never changes, so that nobody needs to be asked.
    if let (Some(commit), Some(None)) = (&known, &lacks)
        && (settings.offline || is_commit(&name.revision))
    {
        return Ok(found(commit.clone(), None));
    }
    if settings.offline {
        let cache = settings.cache.display();
        let what = match lacks.flatten() {
            Some(file) if repo.folder.is_dir() => format!("{file} is not in the cache ({cache})"),
            _ => format!("it is not in the cache ({cache})"),
        };
        return Err(
            name.error(HubFault::Offline, format!("{what}, and HF_HUB_OFFLINE is set, so the hub is not asked"))
        );
    }
    let api = Api::new(&name, settings)?;
    let whole = known.filter(|_| lacks == Some(None));
    let fetched = api.info().and_then(|info| fetch(&api, &repo, settings, &info, tell).map(|()| info.commit));
    match (fetched, whole) {
        (Ok(commit), _) => {
            // The cache may be one that only others write to.
            let _ = repo.remember(&name.revision, &commit);
            Ok(found(commit, None))
        }
        // The hub is not there, or it no longer lets this user see the model: what was taken before still runs.
        (Err(Error::Hub { fault, reason, .. }), Some(commit)) if falls_back(&fault) => {
            let note = format!("{reason}; the files in the cache are used, commit {}", &commit[..7]);
            Ok(found(commit, Some(note)))
        }
        (Err(error), _) => Err(error),
    }
}

/// Whether this failure leaves what is in the cache as good as it was.
fn falls_back(fault: &HubFault) -> bool {
    matches!(fault, HubFault::Unreachable | HubFault::Cut | HubFault::NotFound | HubFault::Gated)
}

/// Fetches the files of a commit that the cache lacks: first those that say what else is needed.
fn fetch(api: &Api, repo: &Repo, settings: &Settings, info: &Info, tell: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let names: Vec<&str> = info.files.iter().map(String::as_str).collect();
    let weights = select::weights(&names).map_err(|unfit| refused(api.name, unfit))?;
    let (present, absent) = select::configs(&names);
    let mut first: Vec<String> = present.into_iter().map(str::to_owned).collect();
    if let Weights::Index(index) = &weights {
        first.push(index.clone());
    }
    get_all(api, repo, settings, &info.commit, &first, &mut |_, _| ())?;
    let files = match weights {
        Weights::Files(files) => files,
        Weights::Index(index) => {
            let path = repo.pointer(&info.commit, &index);
            let text = std::fs::read(&path).map_err(Error::io(&path))?;
            select::shards_of(&text).map_err(|reason| api.damaged(format!("`{index}`: {reason}")))?
        }
    };
    if let Some(lost) = files.iter().find(|file| !names.contains(&file.as_str())) {
        return Err(api.damaged(format!("`{lost}` is in its index, but not among its files")));
    }
    get_all(api, repo, settings, &info.commit, &files, tell)?;
    for config in absent {
        repo.mark_absent(&info.commit, config);
    }
    Ok(())
}

/// Fetches those of these files that the cache lacks.
fn get_all(
    api: &Api,
    repo: &Repo,
    settings: &Settings,
    commit: &str,
    files: &[String],
    tell: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let missing: Vec<&String> = files.iter().filter(|file| !repo.has(commit, file)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    repo.prepare(commit)?;
    let remotes = missing.iter().map(|file| api.remote(commit, file)).collect::<Result<Vec<_>>>()?;
    let of = remotes.iter().filter_map(|remote| remote.size).sum();
    let mut tally = Tally { done: 0, of, tell };
    for (file, remote) in missing.into_iter().zip(&remotes) {
        let lock = Lock::take(&repo.lock(&remote.digest))?;
        let (blob, pointer) = (repo.blob(&remote.digest), repo.pointer(commit, file));
        let fresh = !blob.is_file();
        // Where there are no links, another process may have put the blob into the snapshot and left none.
        if !pointer.is_file() {
            download(api, repo, &Wanted { commit, file, remote }, &lock, &mut tally)?;
            place(&blob, &pointer, settings.symlinks, fresh)?;
        }
        tally.done += remote.size.unwrap_or(0);
    }
    Ok(())
}

/// What a commit in the cache lacks to be run: `None` if nothing. A file counts as lacking if nobody knows that the model has none.
pub fn lacks(repo: &Repo, commit: &str) -> Option<String> {
    let files = repo.files(commit);
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let shards = match select::weights(&names) {
        Err(_) => return Some("its weights file".to_owned()),
        Ok(Weights::Files(files)) => files,
        Ok(Weights::Index(index)) => {
            let text = std::fs::read(repo.pointer(commit, &index)).unwrap_or_default();
            match select::shards_of(&text) {
                Ok(shards) => shards,
                Err(_) => return Some(format!("`{index}`")),
            }
        }
    };
    let open_clip = shards.iter().any(|shard| shard.starts_with("open_clip_model"));
    let unknown = |file: &str| !names.contains(&file) && !repo.is_absent(commit, file);
    let lost = |file: &str| Some(format!("`{file}`"));
    if let Some(shard) = shards.iter().find(|shard| !names.contains(&shard.as_str())) {
        return lost(shard);
    }
    // What an adapter has besides its weights is its configuration; everything else is its base model's, unless it has its own.
    if names.contains(&"adapter_config.json") {
        return ["preprocessor_config.json", "processor_config.json", "config.json"]
            .into_iter()
            .find(|file| unknown(file))
            .and_then(lost);
    }
    if shards.iter().any(|shard| shard == "adapter_model.safetensors") {
        return lost("adapter_config.json");
    }
    let config = if open_clip { "open_clip_config.json" } else { "config.json" };
    if unknown(config) {
        return lost(config);
    }
    let text = std::fs::read(repo.pointer(commit, config)).unwrap_or_default();
    if select::lacks_tokenizer(&text, &names, unknown) {
        return lost("tokenizer.json");
    }
    // timm's and open_clip's configurations say how images are prepared; transformers has a file of its own for it.
    let own = || {
        std::fs::read(repo.pointer(commit, "config.json")).is_ok_and(|text| {
            serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|json| json.get("architecture").is_some())
        })
    };
    if open_clip || names.contains(&"preprocessor_config.json") || own() {
        return None;
    }
    ["preprocessor_config.json", "processor_config.json"].into_iter().find(|file| unknown(file)).and_then(lost)
}

/// The same error, which also says whose base model is meant.
#[must_use]
pub fn of_adapter(error: Error, adapter: &str) -> Error {
    match error {
        Error::Hub { name, fault, reason } => {
            Error::Hub { name, fault, reason: format!("{reason} (it is the base model of the adapter {adapter})") }
        }
        other => other,
    }
}

fn refused(name: &Name, unfit: Unfit) -> Error {
    match unfit {
        Unfit::Pickled(file) => {
            let reason = format!("it has only pickled weights (`{file}`), and unpickling runs code from the file");
            name.error(HubFault::Pickled { file }, reason)
        }
        Unfit::Several(files) => {
            let some: Vec<&str> = files.iter().take(3).map(String::as_str).collect();
            let more = if files.len() > 3 { ", …" } else { "" };
            let reason = format!(
                "it has {} weights files and no main one ({}{more}): download one of them and name the file",
                files.len(),
                some.join(", ")
            );
            name.error(HubFault::NoWeights, reason)
        }
        Unfit::NoWeights => name.error(HubFault::NoWeights, "it has no .safetensors or .npz file with all its weights"),
    }
}
