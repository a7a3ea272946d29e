//! Which class of a model a name in the data means.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use vit_gpu::Error;

use super::super::Failure;

/// How names in the data become classes of the model.
#[derive(Default, clap::Args)]
pub struct NameOptions {
    /// A table (CSV) without a header: a name in the data, and the name or number of a class of the model
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
}

/// The classes of a model or a head, by name.
pub struct Classes {
    names: Vec<Option<String>>,
    /// The classes that have this name, or one of whose synonyms it is; all in lower case.
    whole: HashMap<String, Vec<usize>>,
    synonyms: HashMap<String, Vec<usize>>,
}

/// Names that are listed in an error; the others are counted.
const LISTED: usize = 10;

impl Classes {
    /// Names of the classes in order, where they have one. ImageNet's are lists of synonyms, as in "tabby, tabby cat".
    pub fn new(names: Vec<Option<String>>) -> Classes {
        let (mut whole, mut synonyms) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (index, name) in names.iter().enumerate() {
            let Some(name) = name.as_ref().map(|name| name.trim().to_lowercase()) else { continue };
            for synonym in name.split(", ").filter(|synonym| *synonym != name) {
                synonyms.entry(synonym.to_owned()).or_default().push(index);
            }
            whole.entry(name).or_default().push(index);
        }
        Classes { names, whole, synonyms }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// What a class is called where results are shown.
    pub fn shown(&self, index: usize) -> String {
        self.names.get(index).cloned().flatten().unwrap_or_else(|| format!("class {index}"))
    }

    /// All classes that a name may mean: those of this name, or else those with this synonym, or else the one without a name that is
    /// shown so.
    fn meant(&self, name: &str) -> Vec<usize> {
        let name = name.trim().to_lowercase();
        let named = self.whole.get(&name).or_else(|| self.synonyms.get(&name));
        let number = || name.strip_prefix("class ").unwrap_or(&name).parse::<usize>().ok();
        let nameless = || number().filter(|index| self.names.get(*index).is_some_and(Option::is_none));
        named.cloned().unwrap_or_else(|| nameless().into_iter().collect())
    }

    /// The classes that names in the data mean. One of several labels, separated by `;`, is a name by itself if `several`.
    ///
    /// # Errors
    /// [`Failure::Usage`] lists the names that mean no class, or several; for a map that has none of two columns, or classes that the
    /// model does not have.
    pub fn of(&self, names: &[String], options: &NameOptions, several: bool) -> Result<Vec<Vec<usize>>, Failure> {
        let map = options.map.as_deref().map(|file| self.mapped(file)).transpose()?.unwrap_or_default();
        let (mut unknown, mut ambiguous) = (Vec::new(), Vec::new());
        let mut one = |name: &str| match (map.get(&name.trim().to_lowercase()), self.meant(name).as_slice()) {
            (Some(index), _) | (None, [index]) => *index,
            (None, []) => {
                unknown.push(name.trim().to_owned());
                0
            }
            (None, several) => {
                let all: Vec<String> = several.iter().map(usize::to_string).collect();
                ambiguous.push(format!("{} (classes {})", name.trim(), all.join(", ")));
                0
            }
        };
        let classes = names.iter().map(|name| {
            // A name may have a semicolon of its own.
            let whole = !several || map.contains_key(&name.trim().to_lowercase()) || !self.meant(name).is_empty();
            if whole {
                return vec![one(name)];
            }
            let mut all: Vec<usize> = name.split(';').filter(|name| !name.trim().is_empty()).map(&mut one).collect();
            all.sort_unstable();
            all.dedup();
            all
        });
        let classes = classes.collect();
        let mut reasons = Vec::new();
        if !unknown.is_empty() {
            reasons.push(format!("no class of the model has the name {}", listed(&unknown, " or ")));
        }
        if !ambiguous.is_empty() {
            reasons.push(format!("several classes have the name {}", listed(&ambiguous, " and ")));
        }
        if reasons.is_empty() {
            return Ok(classes);
        }
        Err(Failure::Usage(format!("{}: --map FILE can say which class each is", reasons.join("; "))))
    }

    /// The classes that the names of a table stand for.
    fn mapped(&self, file: &Path) -> Result<HashMap<String, usize>, Failure> {
        let bytes = std::fs::read(file).map_err(|source| Error::Io { path: file.to_path_buf(), source })?;
        let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", file.display()));
        let mut map = HashMap::new();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let [name, class] = [0, 1].map(|column| record.get(column).unwrap_or_default().trim());
            if record.len() != 2 || name.is_empty() {
                return Err(wrong(format!("row {} is not a name and a class", row + 1)));
            }
            let number = class.parse::<usize>().ok().filter(|index| *index < self.len());
            let index = match (self.meant(class).as_slice(), number) {
                ([index], _) => *index,
                ([], Some(index)) => index,
                ([], None) => return Err(wrong(format!("row {}: the model has no class `{class}`", row + 1))),
                (several, _) => {
                    let all: Vec<String> = several.iter().map(usize::to_string).collect();
                    let all = all.join(", ");
                    return Err(wrong(format!("row {}: `{class}` may be class {all}: give its number", row + 1)));
                }
            };
            map.insert(name.to_lowercase(), index);
        }
        Ok(map)
    }
}

/// `a, b or c`, cut off if there are many.
fn listed(names: &[String], last: &str) -> String {
    let quoted: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match (quoted.as_slice(), names.len() > LISTED) {
        (all, true) => format!("{} and {} others", all.join(", "), names.len() - LISTED),
        ([most @ .., end], false) if !most.is_empty() => format!("{}{last}{end}", most.join(", ")),
        (all, false) => all.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Classes {
        let named = |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>();
        let mut names = named(&["tench, Tinca tinca", "crane", "Crane, lifting", "cat;dog", "boat"]);
        names.push(None);
        Classes::new(names)
    }

    fn none() -> NameOptions {
        NameOptions { map: None }
    }

    fn said(result: Result<Vec<Vec<usize>>, Failure>) -> String {
        match result {
            Err(Failure::Usage(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_matched_whole_then_by_synonym_then_by_number() {
        let names = ["Tinca Tinca", "TENCH, tinca tinca", "crane", "5", "class 5", " boat "].map(str::to_owned);
        let found = classes().of(&names, &none(), false).unwrap().concat();
        assert_eq!(found, [0, 0, 1, 5, 5, 4]);
        // A class with a name is not meant by its number.
        let reason = said(classes().of(&["4".to_owned(), "x".to_owned()], &none(), false));
        assert!(reason.starts_with("no class of the model has the name `4` or `x`: --map"), "{reason}");
    }

    #[test]
    fn a_name_of_two_classes_is_refused() {
        let twice = Classes::new(vec![Some("a, b".into()), Some("c, b".into())]);
        let reason = said(twice.of(&["B".to_owned()], &none(), false));
        assert!(reason.starts_with("several classes have the name `B (classes 0, 1)`"), "{reason}");
    }

    #[test]
    fn several_labels_are_separated_by_semicolons() {
        let names = ["crane; boat;crane", "cat;dog", "", "boat"].map(str::to_owned);
        assert_eq!(classes().of(&names, &none(), true).unwrap(), [vec![1, 4], vec![3], vec![], vec![4]]);
    }

    #[test]
    fn a_map_goes_before_names() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "crane,2\nship,BOAT\n").unwrap();
        let options = NameOptions { map: Some(file.path().to_path_buf()) };
        let names = ["Crane", "ship", "boat"].map(str::to_owned);
        assert_eq!(classes().of(&names, &options, false).unwrap().concat(), [2, 4, 4]);
        for (text, reason) in [
            ("ship,yacht", "row 1: the model has no class `yacht`"),
            ("a,b,c", "row 1 is not a name and a class"),
            ("a,99", "no class `99`"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let told = said(classes().of(&names, &options, false));
            assert!(told.contains(reason), "{told}");
        }
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (10..30).map(|i| i.to_string()).collect();
        assert!(listed(&names, " or ").ends_with("`19` and 10 others"));
    }
}
