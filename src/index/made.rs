//! Which model an index's vectors were made by.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::session::Session;

/// What the vectors of an index were made by. Vectors of another model mean nothing beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexedModel {
    /// The model as it was named when the index was made.
    pub name: String,
    /// A digest of all that vectors depend on: configuration, preprocessing and weights, those of the text half among them.
    pub fingerprint: String,
    /// What it computed in: `f32`, `f16` or `i8`.
    pub precision: String,
    /// Values of a vector.
    pub dim: usize,
    /// Options that vectors depend on besides, by name.
    pub options: BTreeMap<String, String>,
    /// Names, sizes and times of the model's files; while these are the same, so is the fingerprint. May be empty.
    pub(crate) files: String,
}

impl IndexedModel {
    /// The model of a session. Reads all weights, unless `known` is of the same files, which have not changed since.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a weight can't be read.
    pub fn of(
        session: &Session,
        options: BTreeMap<String, String>,
        known: Option<&IndexedModel>,
    ) -> Result<IndexedModel> {
        let checkpoint = session.checkpoint();
        let files = checkpoint.files_stamp().unwrap_or_default();
        let same = known.filter(|known| !files.is_empty() && known.files == files);
        let fingerprint = match same {
            Some(known) => known.fingerprint.clone(),
            None => format!("{}{}", checkpoint.fingerprint()?, checkpoint.text_fingerprint()?),
        };
        Ok(IndexedModel {
            name: session.model().name().to_owned(),
            fingerprint,
            precision: session.precision().name().to_owned(),
            dim: session.model().embedding_dim(),
            options,
            files,
        })
    }

    /// A model that is known by its name alone, whose vectors have `dim` values: for vectors that another program makes.
    #[must_use]
    pub fn named(name: &str, dim: usize, options: BTreeMap<String, String>) -> IndexedModel {
        let (fingerprint, files) = (format!("named {name}"), String::new());
        IndexedModel { name: name.to_owned(), fingerprint, precision: "f32".to_owned(), dim, options, files }
    }

    /// Why vectors of `other` can't be put beside those of this model, or be compared with them; `None` if they can.
    #[must_use]
    pub fn difference(&self, other: &IndexedModel) -> Option<String> {
        if self.fingerprint != other.fingerprint {
            return Some(match self.name == other.name {
                true => format!("its model, {}, is no longer the one that made it: make the index anew", self.name),
                false => format!(
                    "it was made with the model {}, and {} is another: give it an index of its own",
                    self.name, other.name
                ),
            });
        }
        if self.precision != other.precision {
            return Some(format!("it was made in {}, not in {}", self.precision, other.precision));
        }
        let all = |options: &BTreeMap<String, String>| {
            let list: Vec<_> = options.iter().map(|(name, value)| format!("{name} {value}")).collect();
            if list.is_empty() { "no other options".to_owned() } else { list.join(", ") }
        };
        (self.options != other.options)
            .then(|| format!("it was made with {}, not with {}", all(&self.options), all(&other.options)))
    }
}
