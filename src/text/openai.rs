//! OpenAI's vocabulary of CLIP, which open_clip carries with it, and tokenizers with the rules of CLIP.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

/// The pairs that are merged, the most frequent first: the lines of OpenAI's `bpe_simple_vocab_16e6.txt` that CLIP uses.
const MERGES: &[u8] = include_bytes!("../../assets/clip-merges/merges.txt.gz");

/// How texts are cut into words. `@` stands for the special tokens.
const WORDS: &str = r"@'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Tokens (id by token) and merges.
pub struct Vocabulary {
    pub tokens: Map<String, Value>,
    pub merges: Vec<String>,
}

/// OpenAI's vocabulary, with the given names of the tokens for the beginning and the end of a text.
pub fn vocabulary(ends: [&str; 2]) -> Result<Vocabulary, String> {
    let mut text = String::new();
    GzDecoder::new(MERGES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let merges: Vec<String> = text.lines().map(str::to_owned).collect();
    let bytes: Vec<String> = byte_letters().into_iter().map(String::from).collect();
    let joined = merges.iter().map(|pair| pair.replacen(' ', "", 1));
    let all = bytes.iter().cloned().chain(bytes.iter().map(|byte| format!("{byte}</w>"))).chain(joined);
    let all = all.chain(ends.map(str::to_owned));
    Ok(Vocabulary { tokens: all.enumerate().map(|(id, token)| (token, id.into())).collect(), merges })
}

/// The letter that stands for each byte in the vocabulary, in the order of their ids: printable bytes stand for themselves.
fn byte_letters() -> Vec<char> {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let (own, others): (Vec<u32>, Vec<u32>) = (0..256).partition(printable);
    own.into_iter().chain((0..others.len() as u32).map(|i| 256 + i)).filter_map(char::from_u32).collect()
}

/// transformers' `CLIPTokenizer`, as a `tokenizer.json`.
pub fn transformers(vocabulary: Vocabulary) -> Result<Value, String> {
    let ends = ["<|startoftext|>", "<|endoftext|>"];
    let id = |name: &str| vocabulary.tokens.get(name).cloned().ok_or(format!("the vocabulary has no `{name}`"));
    let [start, end] = [id(ends[0])?, id(ends[1])?];
    let special = |name: &str, id: &Value| {
        json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let added = [special(ends[0], &start), special(ends[1], &end)];
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": words(r"<\|startoftext\|>|<\|endoftext\|>|", true),
        "post_processor": {
            "type": "RobertaProcessing", "sep": [ends[1], end], "cls": [ends[0], start],
            "trim_offsets": false, "add_prefix_space": false,
        },
        "model": model(vocabulary, json!(ends[1])),
    }))
}

/// The words and the merges of open_clip's `SimpleTokenizer`, as a `tokenizer.json`. Its special tokens are not handled there.
pub fn open_clip(vocabulary: Vocabulary) -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": words("(?i)<start_of_text>|<end_of_text>|", false),
        "model": model(vocabulary, Value::Null),
    })
}

/// `again` cuts words once more as GPT-2's tokenizer does, which matters for what looks like a special token.
fn words(special: &str, again: bool) -> Value {
    let pattern = json!({"Regex": WORDS.replace('@', special)});
    let split = json!({"type": "Split", "pattern": pattern, "behavior": "Removed", "invert": true});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": again});
    json!({"type": "Sequence", "pretokenizers": [split, bytes]})
}

fn model(vocabulary: Vocabulary, unknown: Value) -> Value {
    json!({
        "type": "BPE", "unk_token": unknown, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
        "fuse_unk": false, "vocab": vocabulary.tokens, "merges": vocabulary.merges,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_vocabulary_is_openais() {
        let all = super::vocabulary(["<start_of_text>", "<end_of_text>"]).unwrap();
        assert_eq!((all.tokens.len(), all.merges.len()), (49_408, 48_894));
        for (token, id) in [("!", 0), ("a</w>", 320), ("cat</w>", 2368), ("<end_of_text>", 49_407)] {
            assert_eq!(all.tokens[token], id, "{token}");
        }
    }
}
