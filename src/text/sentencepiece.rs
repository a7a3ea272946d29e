//! SentencePiece's Unigram models (`spiece.model`), for SigLIP: a reader of the file (`sentencepiece_model.proto`), and the rules
//! of transformers' `SiglipTokenizer`.

use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::{Model, NormalizedString, Normalizer};

use super::clean::canonicalize;

/// The letter that stands for a space within pieces.
const SPACE: char = '▁';

/// A piece's kind, of those that texts don't contain.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const UNUSED: u64 = 5;
const BYTE: u64 = 6;

/// A tokenizer read from a `spiece.model`.
pub struct SentencePiece {
    model: Unigram,
    /// What replaces characters before they are looked up, if anything does.
    map: Option<Precompiled>,
    names: Vec<String>,
    unknown: u32,
}

impl SentencePiece {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// A message about what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<SentencePiece, String> {
        let (mut pieces, mut unknown, mut map, mut kind, mut fallback) = (Vec::new(), None, None, 1, false);
        each_field(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(piece)) => {
                    let (mut name, mut score, mut piece_kind) = (String::new(), 0.0, 1);
                    each_field(piece, |field, value| {
                        match (field, value) {
                            (1, Value::Bytes(text)) => {
                                name = std::str::from_utf8(text).map_err(|error| error.to_string())?.to_owned();
                            }
                            (2, Value::Fixed(bits)) => score = f64::from(f32::from_bits(bits)),
                            (3, Value::Number(number)) => piece_kind = number,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    if piece_kind == UNKNOWN {
                        unknown = Some(pieces.len());
                    }
                    pieces.push((name, score, piece_kind));
                }
                (2, Value::Bytes(trainer)) => each_field(trainer, |field, value| {
                    match (field, value) {
                        (3, Value::Number(number)) => kind = number,
                        (35, Value::Number(number)) => fallback = number != 0,
                        _ => {}
                    }
                    Ok(())
                })?,
                (3, Value::Bytes(normalizer)) => each_field(normalizer, |field, value| {
                    if let (2, Value::Bytes(bytes)) = (field, value)
                        && !bytes.is_empty()
                    {
                        map =
                            Some(Precompiled::from(bytes).map_err(|error| format!("its map of characters: {error}"))?);
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        if kind != 1 {
            return Err("it is not a Unigram model".to_owned());
        }
        let unknown = unknown.ok_or("it has no piece for what is unknown")?;
        let names: Vec<String> = pieces.iter().map(|(name, ..)| name.clone()).collect();
        // A text can't contain these, so they are looked up under names that no text has.
        let hidden = |kind: u64| matches!(kind, CONTROL | UNUSED) || kind == BYTE && !fallback;
        let shown = pieces
            .into_iter()
            .enumerate()
            .map(|(id, (name, score, kind))| (if hidden(kind) { format!("\0{id}") } else { name }, score));
        let model = Unigram::from(shown.collect(), Some(unknown), fallback).map_err(|error| error.to_string())?;
        Ok(SentencePiece { model, map, names, unknown: unknown as u32 })
    }

    /// The id of a piece.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.names.iter().position(|name| name == piece).map(|id| id as u32)
    }

    /// The ids of a text, without special tokens.
    ///
    /// # Errors
    /// A message, if the model can't divide the text.
    pub fn encode(&self, text: &str, lower: bool) -> Result<Vec<u32>, String> {
        let text = canonicalize(&format!("{SPACE}{}", text.replace(SPACE, " ")), lower);
        let text = match &self.map {
            Some(map) => {
                let mut mapped = NormalizedString::from(text);
                map.normalize(&mut mapped).map_err(|error| error.to_string())?;
                mapped.get().to_owned()
            }
            None => text,
        };
        // Characters may have become spaces. The first word has its mark already, and marks at the end are dropped.
        let mut marked = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                ' ' if marked.ends_with(' ') => {}
                c => marked.push(c),
            }
        }
        let marked = marked.replace(' ', &SPACE.to_string());
        let marked = marked.trim_end_matches(SPACE);
        let tokens = self.model.tokenize(marked).map_err(|error| error.to_string())?;
        Ok(tokens
            .into_iter()
            .map(|token| if token.id < self.names.len() as u32 { token.id } else { self.unknown })
            .collect())
    }
}

/// A value of the wire format of protocol buffers.
enum Value<'a> {
    Number(u64),
    Fixed(u32),
    Bytes(&'a [u8]),
}

/// Calls `found` with each field's number and value.
fn each_field(mut bytes: &[u8], mut found: impl FnMut(u64, Value<'_>) -> Result<(), String>) -> Result<(), String> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            // Eight bytes; no field that is read has them.
            1 => {
                take(&mut bytes, 8)?;
                continue;
            }
            2 => {
                let len = varint(&mut bytes)?;
                Value::Bytes(take(&mut bytes, len)?)
            }
            5 => {
                let four = take(&mut bytes, 4)?;
                Value::Fixed(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            }
            other => return Err(format!("it is not a SentencePiece model (wire type {other})")),
        };
        found(key >> 3, value)?;
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Result<&'a [u8], String> {
    let len = usize::try_from(len).ok().filter(|len| *len <= bytes.len()).ok_or("it ends too early")?;
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = u64::from(take(bytes, 1)?[0]);
        value |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("it has a number of over 64 bits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn piece(name: &str, score: f32, kind: u8) -> Vec<u8> {
        let score = [vec![2 << 3 | 5], score.to_le_bytes().to_vec()].concat();
        message(1, &[message(1, name.as_bytes()), score, vec![3 << 3, kind]].concat())
    }

    #[test]
    fn a_small_model_divides_texts() {
        let pieces = [
            piece("</s>", 0.0, 3),
            piece("<unk>", 0.0, 2),
            piece("▁a", -1.0, 1),
            piece("▁", -3.0, 1),
            piece("b", -2.0, 1),
        ];
        let model = SentencePiece::read(&pieces.concat()).unwrap();
        assert_eq!(model.id("</s>"), Some(0));
        assert_eq!(model.encode("A, b!", true).unwrap(), [2, 3, 4]);
        assert_eq!(model.encode("a\0 zz", true).unwrap(), [2, 1, 3, 1]);
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = piece("<unk>", 0.0, 2);
        assert!(SentencePiece::read(&whole).is_ok());
        for end in 1..whole.len() {
            assert!(SentencePiece::read(&whole[..end]).is_err(), "{end}");
        }
        let bpe = message(2, &[3 << 3, 2]);
        for (bytes, wanted) in [
            (vec![], "no piece"),
            ([whole.clone(), bpe].concat(), "not a Unigram"),
            (vec![0x0b], "wire type 3"),
            (vec![0x80; 11], "over 64 bits"),
            (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "too early"),
        ] {
            assert!(SentencePiece::read(&bytes).err().unwrap().contains(wanted), "{wanted}");
        }
    }
}
