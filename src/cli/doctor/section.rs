//! Parts of the report: each is printed as text, or put into the JSON, as soon as it is known.

use std::io::{self, Write};

use serde_json::{Map, Value};

/// Facts under one heading.
pub struct Section {
    pub title: &'static str,
    facts: Vec<Fact>,
}

struct Fact {
    name: String,
    value: Value,
    /// What the text shows.
    lines: Vec<String>,
}

impl Section {
    pub fn new(title: &'static str) -> Section {
        Section { title, facts: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Adds a fact of one line.
    pub fn fact(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        self.facts.push(Fact { name: name.into(), value: Value::from(text.as_str()), lines: vec![text] });
    }

    /// Adds a fact of any number of lines, if there are any.
    pub fn list(&mut self, name: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.facts.push(Fact { name: name.into(), value: lines.clone().into(), lines });
        }
    }

    /// Adds a fact that is more in JSON than in text.
    pub fn object(&mut self, name: impl Into<String>, value: Value, lines: Vec<String>) {
        self.facts.push(Fact { name: name.into(), value, lines });
    }

    pub fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\n{}", self.title)?;
        for Fact { name, lines, .. } in &self.facts {
            match &lines[..] {
                [line] => writeln!(out, "  {name}: {}", tilde(line))?,
                lines => {
                    writeln!(out, "  {name}:")?;
                    lines.iter().try_for_each(|line| writeln!(out, "    {}", tilde(line)))?;
                }
            }
        }
        out.flush()
    }

    pub fn json(&self) -> (String, Value) {
        let facts = self.facts.iter().map(|fact| (tilde(&fact.name), without_home(fact.value.clone())));
        (self.title.to_lowercase().replace([' ', '-'], "_"), Value::Object(facts.collect()))
    }
}

/// The same value with `~` for the home folder in every text.
fn without_home(value: Value) -> Value {
    match value {
        Value::String(text) => tilde(&text).into(),
        Value::Array(values) => values.into_iter().map(without_home).collect(),
        Value::Object(facts) => {
            let facts: Map<String, Value> = facts.into_iter().map(|(k, v)| (tilde(&k), without_home(v))).collect();
            facts.into()
        }
        other => other,
    }
}

/// The text with `~` for the home folder, whose path often holds the user's name.
pub fn tilde(text: &str) -> String {
    match etcetera::home_dir().ok().as_deref().and_then(std::path::Path::to_str) {
        Some(home) => shorten(text, home),
        None => text.to_owned(),
    }
}

fn shorten(text: &str, home: &str) -> String {
    let home = home.trim_end_matches(['/', '\\']);
    if home.is_empty() {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(home) {
        let (before, after) = (&rest[..at], &rest[at + home.len()..]);
        // `/home/al` is no part of `/home/alice`, nor of `/mnt/home/al`.
        let whole = |c: char| !(c.is_alphanumeric() || "-_.".contains(c));
        let begins = before.chars().next_back().is_none_or(whole);
        let ends = after.chars().next().is_none_or(whole);
        short += before;
        short += if begins && ends { "~" } else { home };
        rest = after;
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_folders_are_shortened_whole() {
        let short = |text| shorten(text, "/home/al");
        assert_eq!(short("/home/al"), "~");
        assert_eq!(short("/home/al/.cache:/home/al/x, /usr"), "~/.cache:~/x, /usr");
        assert_eq!(short("/home/alice /mnt/home/al/x"), "/home/alice /mnt/home/al/x");
        assert_eq!(shorten(r"C:\Users\Al\AppData", r"C:\Users\Al"), r"~\AppData");
        assert_eq!(shorten("/usr/lib", "/"), "/usr/lib");
    }

    #[test]
    fn facts_are_lines_and_keys() {
        let mut section = Section::new("Self-check");
        section.fact("cache folder", "here");
        section.list("nothing", Vec::new());
        section.list("files", vec!["a".into(), "b".into()]);
        let mut text = Vec::new();
        section.text(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "\nSelf-check\n  cache folder: here\n  files:\n    a\n    b\n");
        let (key, value) = section.json();
        assert_eq!(key, "self_check");
        assert_eq!(value, serde_json::json!({"cache folder": "here", "files": ["a", "b"]}));
    }
}
