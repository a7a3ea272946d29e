//! Digests: what the hub calls a file by, and what its bytes must give.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// A file's digest, which is also the name of its blob in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256, for large files.
    Sha256(String),
    /// The id of a git blob, for files that lie in git itself.
    Git(String),
}

impl Digest {
    /// By its length, as the hub's other clients tell them apart; `None` if it is neither.
    pub fn of_tag(tag: &str) -> Option<Digest> {
        let hex = tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match tag.len() {
            64 if hex => Some(Digest::Sha256(tag.to_owned())),
            40 if hex => Some(Digest::Git(tag.to_owned())),
            _ => None,
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Digest::Sha256(text) | Digest::Git(text) => text,
        }
    }

    /// Whether a file has this digest.
    pub fn is_of(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut context = match self {
            Digest::Sha256(_) => Context::new(&SHA256),
            Digest::Git(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
                context
            }
        };
        let mut chunk = vec![0; 1 << 18];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => context.update(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let found: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(found == self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_gits_and_sha256() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello");
        std::fs::write(&file, "hello\n").unwrap();
        // As `git hash-object` and `sha256sum` print them.
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for tag in [git, sha] {
            let digest = Digest::of_tag(tag).unwrap();
            assert!(digest.is_of(&file).unwrap());
            assert_eq!(digest.text(), tag);
        }
        std::fs::write(&file, "hellO\n").unwrap();
        assert!(
            !Digest::of_tag(git).unwrap().is_of(&file).unwrap() && !Digest::of_tag(sha).unwrap().is_of(&file).unwrap()
        );
        for tag in ["", "../../x", &git[1..], &git.to_uppercase(), &format!("{sha}0")] {
            assert_eq!(Digest::of_tag(tag), None);
        }
    }
}
