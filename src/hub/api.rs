//! The hub's protocol: which commit a name means, what files it has, what one of them is.

use serde_json::Value;

use super::digest::Digest;
use super::http::{Answer, Client, encode};
use super::name::{Name, is_commit};
use super::settings::Settings;
use super::short;
use crate::error::{Error, HubFault, Result};

/// The longest answer that is read of a request for a model's files.
const LARGEST_INFO: u64 = 32 << 20;

/// The hub, asked about one model.
pub struct Api<'a> {
    pub name: &'a Name,
    client: Client,
    endpoint: &'a str,
    host: &'a str,
}

/// What a revision is.
pub struct Info {
    pub commit: String,
    /// Every file, with its path in the repository.
    pub files: Vec<String>,
}

/// What a file is.
pub struct Remote {
    pub digest: Digest,
    pub size: Option<u64>,
}

impl<'a> Api<'a> {
    /// # Errors
    /// [`Error::Io`] if the file of certificates can't be read.
    pub fn new(name: &'a Name, settings: &'a Settings) -> Result<Api<'a>> {
        Ok(Api { name, client: Client::new(settings)?, endpoint: &settings.endpoint, host: settings.host() })
    }

    /// # Errors
    /// [`Error::Hub`] of any fault that concerns the model as a whole.
    pub fn info(&self) -> Result<Info> {
        let Name { repo, revision, .. } = self.name;
        let url = format!("{}/api/models/{repo}/revision/{}", self.endpoint, encode(revision));
        let mut answer = self.client.get(&url, &[]).map_err(|reason| self.unreachable(&reason))?;
        self.check(&answer, None)?;
        let bytes = answer.body.with_config().limit(LARGEST_INFO).read_to_vec();
        let bytes = bytes.map_err(|error| self.unreachable(&super::http::reason(&error)))?;
        // A page for signing in to a network is an answer too.
        let json: Value = serde_json::from_slice(&bytes)
            .map_err(|_| self.unreachable("it does not answer as a hub does; is HF_ENDPOINT right?"))?;
        let files = json["siblings"].as_array().into_iter().flatten();
        let files = files.filter_map(|file| Some(file["rfilename"].as_str()?.to_owned())).collect();
        match json["sha"].as_str() {
            Some(commit) if is_commit(commit) => Ok(Info { commit: commit.to_owned(), files }),
            _ => Err(self.damaged("the hub's answer has no commit")),
        }
    }

    /// # Errors
    /// [`Error::Hub`].
    pub fn remote(&self, commit: &str, file: &str) -> Result<Remote> {
        let answer = self.client.head(&self.url(commit, file)).map_err(|reason| self.unreachable(&reason))?;
        if !answer.is_redirect() {
            self.check(&answer, Some(file))?;
        }
        if answer.header("x-repo-commit").is_some_and(|other| other != commit) {
            return Err(self.damaged(format!("`{file}` is of another commit than the one that was asked for")));
        }
        let tag = answer.header("x-linked-etag").or(answer.header("etag")).unwrap_or_default();
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        let length = || answer.number("content-length").filter(|_| !answer.is_redirect());
        let Some(digest) = Digest::of_tag(tag) else {
            return Err(self.damaged(format!("the hub gives no digest of `{file}`")));
        };
        Ok(Remote { digest, size: answer.number("x-linked-size").or_else(length) })
    }

    /// Begins to fetch a file. What is no success is the caller's to judge.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn open(&self, commit: &str, file: &str, headers: &[(&str, String)]) -> Result<Answer, String> {
        self.client.get(&self.url(commit, file), headers)
    }

    fn url(&self, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{}", self.endpoint, self.name.repo, encode(file))
    }

    /// # Errors
    /// [`Error::Hub`] if the answer's status is no success.
    pub fn check(&self, answer: &Answer, file: Option<&str>) -> Result<()> {
        if matches!(answer.status, 200 | 206) { Ok(()) } else { Err(self.failure(answer, file)) }
    }

    fn failure(&self, answer: &Answer, file: Option<&str>) -> Error {
        let (status, host, page) = (answer.status, self.host, format!("{}/{}", self.endpoint, self.name.repo));
        let (fault, reason) = match (answer.header("x-error-code").unwrap_or_default(), status) {
            ("GatedRepo", _) | ("", 403) if self.client.has_token() => {
                (HubFault::Gated, format!("the token in use has no access to it: ask for access at {page}"))
            }
            ("GatedRepo", _) | ("", 403) => {
                let how = "then set HF_TOKEN to a token of your account";
                (HubFault::Gated, format!("its owners grant access: accept their conditions at {page}, {how}"))
            }
            ("RevisionNotFound", _) => {
                (HubFault::Revision, format!("it has no branch, tag or commit `{}` on {host}", self.name.revision))
            }
            ("EntryNotFound", _) => {
                let file = file.unwrap_or("what was asked for");
                (HubFault::Damaged, format!("`{file}` is in the list of its files, but {host} does not have it"))
            }
            ("", 401) if self.client.has_token() => {
                (HubFault::Gated, format!("{host} does not accept the token in HF_TOKEN or in the token file"))
            }
            ("RepoNotFound", _) | (_, 401 | 404) => {
                let private = if self.client.has_token() { "with this token" } else { "without a token in HF_TOKEN" };
                let nearest = short::suggestion(&self.name.given);
                (HubFault::NotFound, format!("{host} has no model of this name that can be seen {private}{nearest}"))
            }
            (_, 429) => return self.unreachable("it allows no more requests for now (status 429)"),
            (_, 408 | 500..) => return self.unreachable(&format!("it answers with status {status}")),
            _ => (HubFault::Damaged, format!("{host} answers with status {status}")),
        };
        self.name.error(fault, reason)
    }

    fn unreachable(&self, reason: &str) -> Error {
        self.name.error(HubFault::Unreachable, format!("{} can't be reached: {reason}", self.host))
    }

    pub fn damaged(&self, reason: impl Into<String>) -> Error {
        self.name.error(HubFault::Damaged, reason)
    }
}
