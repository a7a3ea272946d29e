//! Reads JSON as Python's `json` module writes it. All JSON files of a model are read here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::foreign;
use crate::error::{Error, Result};

/// Size limit for JSON files. In memory, a value can take up to 32 times as much as its text.
const LONGEST: u64 = 16 << 20;

/// Reads a file.
pub fn read(path: &Path) -> Result<Value> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(Error::io(path))?.take(LONGEST + 1);
    file.read_to_end(&mut bytes).map_err(Error::io(path))?;
    parse(&path.display().to_string(), &bytes)
}

/// The value, if it is an object, as every configuration must be.
pub fn object(file: &str, json: Value) -> Result<Value> {
    if json.is_object() { Ok(json) } else { Err(Error::config(file, "it is not a JSON object ({…})")) }
}

/// Reads text in UTF-8, with or without a byte order mark.
///
/// `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON does not have, become texts of these names: harmless where
/// they are not read, an error where a number is expected. If a key occurs twice, the last value counts, as in
/// Python. Values nested more than 127 deep are an error. `file` is what errors call it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Value> {
    if bytes.len() as u64 > LONGEST {
        return Err(Error::config(file, format!("it has more than {LONGEST} bytes, which no configuration needs")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Error::config(file, "it is not text in UTF-8"))?;
    let read = if text.contains("NaN") || text.contains("Infinity") {
        serde_json::from_str(&quoted(text))
    } else {
        serde_json::from_str(text)
    };
    read.map_err(|error| match foreign::format(bytes) {
        Some(format) if format != foreign::JSON => {
            Error::config(file, format!("this is {format}, not a configuration"))
        }
        _ => Error::config_by(file, error),
    })
}

/// The same text with Python's three constants in quotes, where they stand as values.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let (mut rest, mut in_text) = (text, false);
    while let Some(next) = rest.chars().next() {
        let constant = ["NaN", "Infinity", "-Infinity"].into_iter().find(|name| !in_text && rest.starts_with(name));
        // Python never writes these constants as keys.
        match constant.filter(|name| !rest[name.len()..].trim_start().starts_with(':')) {
            Some(name) => {
                out.extend(["\"", name, "\""]);
                rest = &rest[name.len()..];
                continue;
            }
            None if in_text && next == '\\' => {
                let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            None if next == '"' => in_text = !in_text,
            None => {}
        }
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parsed(bytes: &[u8]) -> std::result::Result<Value, String> {
        parse("a.json", bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn what_python_writes_is_read() {
        let text =
            "\u{feff}{\"a\": NaN, \"b\": [-Infinity, Infinity,1], \"NaN\": \"\\\"NaN\\\\\", \"é\": \"-Infinity: NaN\"}";
        let want = json!({"a": "NaN", "b": ["-Infinity", "Infinity", 1], "NaN": "\"NaN\\", "é": "-Infinity: NaN"});
        assert_eq!(parsed(text.as_bytes()).unwrap(), want);
        assert_eq!(parsed(b"NaN").unwrap(), json!("NaN"));
        assert_eq!(parsed(br#"{"depth": 1, "depth": 2}"#).unwrap(), json!({"depth": 2}));
    }

    #[test]
    fn what_python_refuses_is_an_error() {
        for text in ["{NaN: 1}", "-NaN", "xNaN", "NaNx", "[NaN", "\"NaN", "\"NaN\\", "{\"a\": Infinityy}", "[1,]", ""] {
            assert!(parsed(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parsed(b"\"\xff\"").unwrap_err().contains("UTF-8"));
        assert!(parsed("[".repeat(1 << 20).as_bytes()).unwrap_err().contains("recursion"));
        assert!(parsed("{\"a\":".repeat(1 << 20).as_bytes()).unwrap_err().contains("recursion"));
        assert!(parsed(&vec![b' '; (16 << 20) + 1]).unwrap_err().contains("more than 16777216 bytes"));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        assert!(parsed(pointer).unwrap_err().contains("Git LFS pointer"));
    }

    proptest! {
        #[test]
        fn texts_without_constants_are_left_alone(text in "[a-z\"\\\\:{}, é]{0,40}") {
            prop_assert_eq!(quoted(&text), text);
        }
    }
}
