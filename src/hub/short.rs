//! Short names: a table of models that people start with.

static TABLE: &str = include_str!("short_names.csv");

/// A model with a short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The short name.
    pub name: &'static str,
    /// `owner/name` on the hub.
    pub repo: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Its licence, as the hub abbreviates it.
    pub licence: &'static str,
    /// Millions of parameters, of the part that is run.
    pub parameters: &'static str,
    /// Height and width of its images, in pixels.
    pub image_size: &'static str,
    /// Its classes, or that its vectors can be compared with those of texts.
    pub knows: &'static str,
}

/// All short names, in the order in which a reader should meet them.
pub fn short_names() -> impl Iterator<Item = Short> {
    TABLE.lines().skip(1).filter_map(|line| {
        let mut cells = line.split(',');
        let mut next = || cells.next();
        Some(Short {
            name: next()?,
            repo: next()?,
            purpose: next()?,
            licence: next()?,
            parameters: next()?,
            image_size: next()?,
            knows: next()?,
        })
    })
}

/// The model of a short name.
pub fn lookup(name: &str) -> Option<Short> {
    short_names().find(|short| short.name == name)
}

/// The short names that look most like this one, nearest first; none if none does.
#[must_use]
pub fn nearest(name: &str) -> Vec<&'static str> {
    let word = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let likeness = |short: &str| (1000.0 * strsim::jaro_winkler(&word, short)) as u32;
    let mut all: Vec<_> = short_names().map(|short| (likeness(short.name), short.name)).collect();
    all.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
    all.into_iter().take_while(|(likeness, _)| *likeness >= 850).take(3).map(|(_, name)| name).collect()
}

/// What an error says of the nearest short names.
pub fn suggestion(name: &str) -> String {
    let quoted: Vec<_> = nearest(name).iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { String::new() } else { format!("; short names like it are {}", quoted.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole_and_its_name_is_its_own() {
        let rows: Vec<Short> = short_names().collect();
        assert_eq!(rows.len(), TABLE.lines().count() - 1);
        assert!(TABLE.lines().all(|line| line.split(',').count() == 7), "commas stand between cells alone");
        for (at, row) in rows.iter().enumerate() {
            assert!(crate::hub::Name::parse(row.repo).is_ok_and(|name| name.repo == row.repo), "{row:?}");
            assert!(crate::hub::is_name(row.name) && !row.name.contains('/'), "{row:?}");
            assert!(row.parameters.parse::<f32>().is_ok() && row.image_size.parse::<usize>().is_ok(), "{row:?}");
            assert!(rows[..at].iter().all(|other| other.name != row.name), "{row:?}");
        }
    }

    #[test]
    fn the_nearest_names_come_first() {
        assert_eq!(nearest("vit-bsae")[0], "vit-base");
        assert_eq!(nearest("dinov2-smal")[0], "dinov2-small");
        assert_eq!(nearest("google/vit-base-patch16-225")[0], "vit-base");
        assert!(nearest("xyzzy").is_empty());
    }
}
