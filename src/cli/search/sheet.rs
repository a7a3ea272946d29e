//! A contact sheet: one HTML page with the photos that were found, which needs neither other files nor the network.

use std::fmt::Write;
use std::path::Path;

use rayon::prelude::*;
use vit_gpu::index::Hit;

use super::super::inputs::{Input, Reading};
use super::super::report::{escaped, thumbnail};

/// The longer side of a picture, in pixels.
const SIDE: usize = 224;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1a1c1f; --back: #ffffff; --soft: #5c636b; --panel: #f1f3f5; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --back: #16181b; --soft: #a2a9b1; --panel: #22262b; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.8rem 0 .6rem; } p { color: var(--soft); margin: 0 0 1.2rem; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--panel); border-radius: .5rem; padding: .5rem; }
figure a { display: flex; height: 14rem; align-items: center; justify-content: center; text-decoration: none; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
figure img { width: 100%; height: 100%; object-fit: contain; }
figcaption { font-size: .8rem; margin-top: .4rem; overflow-wrap: anywhere; } figcaption b { font-variant-numeric: tabular-nums; margin-right: .4rem; }
";

/// A part of the page: its heading, and the photos below.
pub struct Section<'a> {
    pub heading: Option<String>,
    pub hits: &'a [Hit],
}

/// The page.
pub fn page(title: &str, about: &str, sections: &[Section<'_>], reading: &Reading) -> Result<String, std::fmt::Error> {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<p>{1}</p>\n",
        escaped(title),
        escaped(about)
    );
    for Section { heading, hits } in sections {
        if let Some(heading) = heading {
            writeln!(out, "<h2>{}</h2>", escaped(heading))?;
        }
        out += "<div class=\"photos\">\n";
        // Decoding takes far longer than everything else.
        let figures: Vec<String> = hits.par_iter().map(|hit| figure(hit, reading)).collect();
        figures.iter().for_each(|figure| out += figure);
        out += "</div>\n";
    }
    Ok(out + "</body>\n</html>\n")
}

fn figure(hit: &Hit, reading: &Reading) -> String {
    let picture = match thumbnail(&Input::File(hit.path.as_path().into()), reading, SIDE) {
        Ok((address, width, height)) => {
            format!("<img src=\"{address}\" width=\"{width}\" height=\"{height}\" alt=\"\">")
        }
        // It was there when it was indexed.
        Err(error) => escaped(error),
    };
    let name = hit.path.file_name().map_or_else(|| hit.path.display().to_string(), |name| name.display().to_string());
    format!(
        "<figure><a href=\"{}\" title=\"{}\">{picture}</a><figcaption><b>{:.3}</b>{}</figcaption></figure>\n",
        address(&hit.path),
        escaped(hit.path.display()),
        hit.score,
        escaped(name)
    )
}

/// The address of a file; what may not be in one is written as its bytes.
fn address(path: &Path) -> String {
    let mut text = if cfg!(windows) { "file:///".to_owned() } else { "file://".to_owned() };
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => text.push('/'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' | b':' => {
                text.push(*byte as char)
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_any_name() {
        let want = if cfg!(windows) { "file:///" } else { "file://" };
        assert_eq!(address(Path::new("/a b/ü\"<'.jpg")), format!("{want}/a%20b/%C3%BC%22%3C%27.jpg"));
    }
}
