//! The environment variables of Python's `huggingface_hub`, with their meaning there.

use std::path::PathBuf;
use std::time::Duration;

/// Where the hub and the cache are, and how to ask.
#[derive(Clone)]
pub struct Settings {
    /// `HF_ENDPOINT`, without a slash at its end.
    pub endpoint: String,
    /// The cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or what the token file holds.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: nothing is asked of anyone.
    pub offline: bool,
    /// `HF_HUB_DISABLE_SYMLINKS`, the other way round.
    pub symlinks: bool,
    /// How long the hub may take to say what a file is: `HF_HUB_ETAG_TIMEOUT`.
    pub answer: Duration,
    /// How long a download may stand still: `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub stall: Duration,
    /// A file of certificates to trust in place of Mozilla's: `SSL_CERT_FILE`.
    pub certificates: Option<PathBuf>,
}

/// As everything else that has a token: it is not shown.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Settings { endpoint, cache, offline, .. } = self;
        let mut shown = f.debug_struct("Settings");
        shown.field("endpoint", endpoint).field("cache", cache).field("offline", offline).finish_non_exhaustive()
    }
}

impl Settings {
    /// As this process's environment says.
    #[must_use]
    pub fn from_env() -> Settings {
        let variable = |name: &str| std::env::var(name).ok();
        Settings::read(&variable, std::env::home_dir().unwrap_or_default())
    }

    /// As these variables say, in this home folder. A variable that is empty counts as one that is not set.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, home: PathBuf) -> Settings {
        let set = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let yes = |names: &[&str]| {
            set(names).is_some_and(|value| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
        };
        let path = |names: &[&str]| set(names).map(|value| expand(&value, variable, &home));
        let seconds = |name: &str| {
            let seconds = set(&[name]).and_then(|value| value.trim().parse().ok()).filter(|seconds| *seconds > 0);
            Duration::from_secs(seconds.unwrap_or(10))
        };
        let caches = path(&["XDG_CACHE_HOME"]).unwrap_or_else(|| home.join(".cache"));
        let own = path(&["HF_HOME"]).unwrap_or_else(|| caches.join("huggingface"));
        let clean = |token: String| {
            let token = token.replace(['\r', '\n'], "").trim().to_owned();
            (!token.is_empty()).then_some(token)
        };
        let from_file = || {
            let file = path(&["HF_TOKEN_PATH"]).unwrap_or_else(|| own.join("token"));
            let implicit = !yes(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"]);
            std::fs::read_to_string(file).ok().filter(|_| implicit)
        };
        Settings {
            endpoint: set(&["HF_ENDPOINT"])
                .map_or_else(|| "https://huggingface.co".to_owned(), |url| url.trim_end_matches('/').to_owned()),
            cache: path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).unwrap_or_else(|| own.join("hub")),
            token: set(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).and_then(clean).or_else(|| from_file().and_then(clean)),
            offline: yes(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]),
            symlinks: !yes(&["HF_HUB_DISABLE_SYMLINKS"]),
            answer: seconds("HF_HUB_ETAG_TIMEOUT"),
            stall: seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
            certificates: path(&["SSL_CERT_FILE"]),
        }
    }

    /// The host of the endpoint, as messages name it.
    pub fn host(&self) -> &str {
        self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, host)| host)
    }
}

/// A path in which `~` at the start, `$NAME` and `${NAME}` are replaced; variables that are not set stay as they are.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>, home: &std::path::Path) -> PathBuf {
    let text = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '\\']) => format!("{}{rest}", home.display()),
        _ => text.to_owned(),
    };
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, next) = braced.unwrap_or_else(|| {
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            after.split_at(end)
        });
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => out += &value,
            None => out += &rest[before.len()..rest.len() - next.len()],
        }
        rest = next;
    }
    PathBuf::from(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&find, PathBuf::from("/home/me"))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| read(variables).cache.display().to_string();
        assert_eq!(cache(&[]), "/home/me/.cache/huggingface/hub");
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/c")]), "/c/huggingface/hub");
        assert_eq!(cache(&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")]), "/home/me/hf/hub");
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")]), "/old");
        assert_eq!(
            cache(&[("HF_HUB_CACHE", "$D/${D}x$E"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("D", "/d")]),
            "/d//dx$E"
        );
        assert_eq!(cache(&[("HF_HOME", "")]), "/home/me/.cache/huggingface/hub");
    }

    #[test]
    fn tokens_switches_and_times() {
        let settings = read(&[("HF_TOKEN", " hf_x\n"), ("HF_HUB_OFFLINE", "True"), ("HF_ENDPOINT", "http://h:1/")]);
        assert_eq!((settings.token.as_deref(), settings.offline), (Some("hf_x"), true));
        assert_eq!((settings.endpoint.as_str(), settings.host()), ("http://h:1", "h:1"));
        assert!(!format!("{settings:?}").contains("hf_x"));
        let settings = read(&[("HF_HUB_OFFLINE", "0"), ("HF_HUB_DOWNLOAD_TIMEOUT", "3")]);
        assert_eq!((settings.token, settings.offline, settings.stall.as_secs()), (None, false, 3));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\r\n").unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).token.as_deref(), Some("hf_file"));
        assert_eq!(read(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
        let other = folder.path().join("token");
        assert_eq!(read(&[("HF_TOKEN_PATH", other.to_str().unwrap())]).token.as_deref(), Some("hf_file"));
    }
}
