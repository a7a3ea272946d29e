//! Cleaning of texts, as open_clip (`tokenizer.py`) and big_vision do it before they look for tokens.

use tokenizers::normalizers::NFC;
use tokenizers::{NormalizedString, Normalizer};

use super::settings::Clean;

/// Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Cleans a text as open_clip's function of this name does.
pub fn clean(text: &str, how: Clean) -> String {
    let text = basic(text);
    match how {
        Clean::Whitespace => single_spaces(&text),
        Clean::Lower => single_spaces(&text).to_lowercase(),
        Clean::Canonicalize => single_spaces(&without_punctuation(&text.replace('_', " ")).to_lowercase()),
    }
}

/// transformers' `SiglipTokenizer.canonicalize_text`.
pub fn canonicalize(text: &str, lower: bool) -> String {
    let text = if lower { text.to_lowercase() } else { text.to_owned() };
    single_spaces(&without_punctuation(&text))
}

/// White space at the ends removed, and elsewhere made single spaces.
fn single_spaces(text: &str) -> String {
    // Python counts four separators of ASCII as white space that Unicode does not.
    let space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    text.split(space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn without_punctuation(text: &str) -> String {
    text.chars().filter(|c| !PUNCTUATION.contains(*c)).collect()
}

/// `basic_clean`: the part of ftfy's `fix_text` that does not guess at encodings, then entities of HTML, twice.
fn basic(text: &str) -> String {
    let text = if text.contains('<') { text.to_owned() } else { unescaped(text) };
    let mut fixed = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // Quotes that are curled, and letters that are joined.
            '\u{2018}'..='\u{201b}' | '\u{2bc}' => fixed.push('\''),
            '\u{201c}'..='\u{201f}' => fixed.push('"'),
            'ﬀ' => fixed.push_str("ff"),
            'ﬁ' => fixed.push_str("fi"),
            'ﬂ' => fixed.push_str("fl"),
            'ﬃ' => fixed.push_str("ffi"),
            'ﬄ' => fixed.push_str("ffl"),
            'ﬅ' | 'ﬆ' => fixed.push_str("st"),
            // Latin letters of the width of Chinese ones.
            '\u{ff01}'..='\u{ff5e}' => fixed.extend(char::from_u32(c as u32 - 0xfee0)),
            '\u{3000}' => fixed.push(' '),
            '\r' => {
                chars.next_if_eq(&'\n');
                fixed.push('\n');
            }
            '\u{2028}' | '\u{2029}' | '\u{85}' => fixed.push('\n'),
            '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{feff}' | '\u{206a}'..='\u{206f}' => {}
            '\u{fff9}'..='\u{fffb}' => {}
            _ => fixed.push(c),
        }
    }
    let mut composed = NormalizedString::from(fixed);
    // Composing characters can't fail.
    let _ = NFC.normalize(&mut composed);
    unescaped(&unescaped(composed.get())).trim().to_owned()
}

/// The entities of HTML that texts have: those by number, and the common ones by name.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest[1..].find(';').filter(|len| *len <= 8).map(|len| &rest[1..=len]);
        match entity.and_then(|name| Some((name.len(), character(name)?))) {
            Some((len, c)) => {
                out.push(c);
                rest = &rest[len + 2..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// The character of an entity, without `&` and `;`.
fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let code = hex.map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())?;
        return char::from_u32(code).filter(|c| !c.is_control());
    }
    Some(match name {
        "amp" | "AMP" => '&',
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "quot" | "QUOT" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '©',
        "reg" => '®',
        "deg" => '°',
        "hellip" => '…',
        "ndash" => '–',
        "mdash" => '—',
        "lsquo" => '\u{2018}',
        "rsquo" => '\u{2019}',
        "ldquo" => '\u{201c}',
        "rdquo" => '\u{201d}',
        "eacute" => 'é',
        "euro" => '€',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_characters() {
        assert_eq!(unescaped("a &amp; b &#233; &#xe9; &nothing; & c&"), "a & b é é &nothing; & c&");
        assert_eq!(unescaped("&#x110000; &#1; &toolongname;"), "&#x110000; &#1; &toolongname;");
        assert_eq!(clean("Tom &amp;amp; Jerry", Clean::Whitespace), "Tom & Jerry");
    }
}
