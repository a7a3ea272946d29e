//! Names of models: `owner/name[@revision]`, or a short name that stands for one.

use super::short;
use crate::error::{Error, HubFault, Result};

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// What the user wrote.
    pub given: String,
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl Name {
    /// Reads `owner/name`, `owner/name@revision`, or a short name with or without a revision.
    ///
    /// # Errors
    /// [`HubFault::NotFound`], with the nearest short names, for anything else.
    pub fn parse(given: &str) -> Result<Name> {
        let (name, revision) = given.split_once('@').unwrap_or((given, "main"));
        let repo = match short::lookup(name) {
            Some(short) => short.repo,
            None => name,
        };
        let not_found = |reason: String| Err(Error::Hub { name: given.to_owned(), fault: HubFault::NotFound, reason });
        if !is_repo(repo) {
            let nearest = short::suggestion(name);
            return not_found(format!(
                "this is neither a file or folder, nor a name on the hub (`owner/name`), nor a short name{nearest}"
            ));
        }
        if !is_revision(revision) {
            return not_found(format!("`{revision}` can't be a branch, a tag or a commit"));
        }
        Ok(Name { given: given.to_owned(), repo: repo.to_owned(), revision: revision.to_owned() })
    }

    /// An error that concerns this model.
    pub fn error(&self, fault: HubFault, reason: impl Into<String>) -> Error {
        Error::Hub { name: self.given.clone(), fault, reason: reason.into() }
    }
}

/// Whether this should be looked for on the hub if no file or folder has this name: `owner/name`, or one word, each with or
/// without `@revision`. `a/b/c`, `./a` and `a.safetensors` are paths.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let is_file = [".safetensors", ".npz", ".json", ".bin", ".pt", ".pth"].iter().any(|ending| name.ends_with(ending));
    !is_file && (is_repo(name) || is_part(name))
}

/// `owner/name`, by the hub's own rules.
fn is_repo(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() == 2 && name.len() <= 96 && parts.into_iter().all(is_part)
}

fn is_part(part: &str) -> bool {
    let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let ends = part.starts_with(['-', '.']) || part.ends_with(['-', '.']) || part.ends_with(".git");
    plain && !part.is_empty() && !ends && !part.contains("--") && !part.contains("..")
}

/// Whether git would take this as the name of a branch or a tag; commits are such names too.
fn is_revision(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\\"<>|%#".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !text.contains("..") && !text.contains(odd) && text.split('/').all(part)
}

/// Whether a revision is a whole commit, which never changes.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a file of this name lies in a repository's top folder and nowhere else, on any system.
pub fn is_file_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_owner_and_may_have_a_revision() {
        let name = Name::parse("google/vit-base-patch16-224@refs/pr/1").unwrap();
        assert_eq!((name.repo.as_str(), name.revision.as_str()), ("google/vit-base-patch16-224", "refs/pr/1"));
        assert_eq!(Name::parse("a/b").unwrap().revision, "main");
        for bad in ["a/b@", "a/b@..", "a/b@x/../y", "a/b@/x", "a/b@x y", "a/b@a\\b", "a/b@.x"] {
            assert!(Name::parse(bad).unwrap_err().to_string().contains("can't be a branch"), "{bad}");
        }
    }

    #[test]
    fn paths_are_no_names() {
        for path in ["", ".", "./a", "../a", "/a", "a/", "a/b/c", "a\\b", "a.safetensors", "x/a.npz", "~/a", "a--b/c"] {
            assert!(!is_name(path), "{path}");
        }
        for name in ["vit-base", "vit-bsae", "a/b", "a/b@main", "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"] {
            assert!(is_name(name), "{name}");
        }
    }

    #[test]
    fn file_names_stay_in_their_folder() {
        for bad in ["", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\0b", "a\nb"] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
        assert!(is_file_name("model-00001-of-00002.safetensors") && is_file_name("..a"));
    }
}
