//! The tokenizer of one model.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Token, TruncationParams};

use super::clean::{canonicalize, clean};
use super::files::{Config, read};
use super::openai::{self, Vocabulary};
use super::sentencepiece::SentencePiece;
use super::settings::{Clean, Library, Settings};
use crate::error::{Error, Result};

/// The names of the beginning and the end of a text in open_clip's tokenizer.
const ENDS: [&str; 2] = ["<start_of_text>", "<end_of_text>"];

/// The ids of a text, as many as the model's context has, and which of them are attended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Ids, padding included.
    pub ids: Vec<u32>,
    /// How many of them, from the first on, a token of a tower without causal attention attends to: all, unless the library masks
    /// padding.
    pub attended: usize,
}

/// Turns texts into ids as the model's library does.
pub struct Tokenizer {
    settings: Settings,
    kind: Kind,
    /// What short texts are filled up with, and whether at their beginning.
    pad: (u32, bool),
    masked: bool,
}

enum Kind {
    /// open_clip's own: words and merges, the special tokens added here.
    OpenClip(Box<tokenizers::Tokenizer>, Clean),
    /// A `tokenizer.json`, after a text was prepared. Its separator may become 0.
    Json { tokenizer: Box<tokenizers::Tokenizer>, before: Before, zero: Option<u32> },
    /// A `spiece.model`, and the id of the end of a text.
    Pieces { model: Box<SentencePiece>, lower: bool, end: u32 },
}

/// What is done to a text before a `tokenizer.json` sees it.
enum Before {
    Nothing,
    Lower,
    Canonicalize { lower: bool },
    Clean(Clean),
}

impl Tokenizer {
    /// Reads the files of a model's tokenizer in `folder`, where the model has one.
    ///
    /// # Errors
    /// [`Error::Io`] if a file can't be read; [`Error::Model`] if it is missing or not what it should be.
    pub fn open(settings: &Settings, folder: Option<&Path>) -> Result<Tokenizer> {
        if let Library::OpenClip(how) = settings.library {
            let vocabulary =
                openai::vocabulary(ENDS).map_err(|reason| Error::model("the built-in vocabulary", reason))?;
            let tokenizer =
                parsed(openai::open_clip(vocabulary)).map_err(|reason| Error::model("open_clip", reason))?;
            let kind = Kind::OpenClip(Box::new(tokenizer), how);
            return Ok(Tokenizer { settings: settings.clone(), kind, pad: (0, false), masked: false });
        }
        let name = folder.map_or("memory".to_owned(), |folder| folder.display().to_string());
        let fail = |file: &str, reason: String| Error::model(format!("{name} ({file})"), reason);
        let file = |file: &str| match folder {
            Some(folder) => read(folder, file).map_err(|(path, error): (PathBuf, _)| Error::io(path)(error)),
            None => Ok(None),
        };
        let config =
            Config::parse(file("tokenizer_config.json")?.as_deref(), file("special_tokens_map.json")?.as_deref());
        let mut config = config.map_err(|reason| fail("tokenizer_config.json", reason))?;
        let siglip = settings.library == Library::Siglip;
        let class = config.class.clone().unwrap_or_else(|| if siglip { "SiglipTokenizer" } else { "" }.to_owned());
        let json = file("tokenizer.json")?;
        let pieces = file("spiece.model")?.filter(|_| json.is_none() || class == "SiglipTokenizer");
        let masked = siglip && config.masked;
        if let Some(bytes) = pieces {
            let model = SentencePiece::read(&bytes).map_err(|reason| fail("spiece.model", reason))?;
            let id = |token: Option<&str>| {
                let token = token.unwrap_or("</s>");
                model.id(token).ok_or_else(|| fail("spiece.model", format!("it has no piece `{token}`")))
            };
            let (end, pad) = (id(config.end.as_deref())?, id(config.pad.as_deref())?);
            let kind = Kind::Pieces { model: Box::new(model), lower: config.lower, end };
            return Tokenizer::of(settings, kind, (pad, config.pads_left), masked, config.max_length);
        }
        let (from, mut tokenizer) = match (json, file("vocab.json")?, file("merges.txt")?) {
            (Some(json), ..) => ("tokenizer.json", tokenizers::Tokenizer::from_bytes(&json).map_err(|e| e.to_string())),
            (None, Some(vocabulary), Some(merges)) => ("vocab.json", clip_files(&vocabulary, &merges)),
            (None, None, None) if settings.library == Library::Clip && settings.vocab_size == 49_408 => {
                let vocabulary = openai::vocabulary(["<|startoftext|>", "<|endoftext|>"]);
                ("vocab.json", vocabulary.and_then(openai::transformers).and_then(parsed))
            }
            _ => {
                let needed = if siglip { "tokenizer.json or spiece.model" } else { "tokenizer.json" };
                return Err(Error::model(name, format!("texts need the tokenizer's files, and {needed} is missing")));
            }
        };
        let tokenizer = tokenizer.as_mut().map_err(|reason| fail(from, reason.clone()))?;
        tokenizer.with_padding(None);
        if config.pad.is_none() && settings.library == Library::Clip {
            config.pad = Some("<|endoftext|>".to_owned());
        }
        let pad = config.pad.as_deref().map_or(Some(0), |token| tokenizer.token_to_id(token));
        let pad = pad.ok_or_else(|| fail(from, format!("it has no token `{}`", config.pad.unwrap_or_default())))?;
        let (before, zero) = match settings.library {
            Library::OpenClipFiles { clean, strip_sep } => {
                let separator = tokenizer.token_to_id("[SEP]").or_else(|| tokenizer.token_to_id("</s>"));
                (Before::Clean(clean), separator.filter(|_| strip_sep))
            }
            _ if class == "SiglipTokenizer" => (Before::Canonicalize { lower: config.lower }, None),
            _ if class == "Siglip2Tokenizer" => (Before::Lower, None),
            _ => (Before::Nothing, None),
        };
        let kind = Kind::Json { tokenizer: Box::new(tokenizer.clone()), before, zero };
        Tokenizer::of(settings, kind, (pad, config.pads_left), masked, config.max_length)
    }

    fn of(
        settings: &Settings,
        mut kind: Kind,
        pad: (u32, bool),
        masked: bool,
        most: Option<usize>,
    ) -> Result<Tokenizer> {
        let mut settings = settings.clone();
        // A tokenizer may be stricter than the table of positions; the rest is then padding.
        let most = most.unwrap_or(usize::MAX).min(settings.context);
        if let Kind::Json { tokenizer, .. } = &mut kind {
            let params = TruncationParams { max_length: most, ..TruncationParams::default() };
            tokenizer
                .with_truncation(Some(params))
                .map_err(|error| Error::model("tokenizer.json", error.to_string()))?;
        }
        settings.context = settings.context.max(1);
        Ok(Tokenizer { settings, kind, pad, masked })
    }

    /// The ids of a text. What does not fit the context is cut off, the end of the text is kept.
    ///
    /// # Errors
    /// [`Error::Argument`] if the tokenizer can't divide the text, or gives ids that the model does not have.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let refused = |reason: String| Error::argument("text", reason);
        let context = self.settings.context;
        let mut ids = self.ids(text).map_err(refused)?;
        ids.truncate(context);
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.settings.vocab_size) {
            let count = self.settings.vocab_size;
            return Err(refused(format!(
                "token {id} of {text:?}: the model has {count} tokens, so its tokenizer is another's"
            )));
        }
        let found = ids.len();
        let (pad, left) = self.pad;
        if left {
            ids.splice(0..0, std::iter::repeat_n(pad, context - found));
        }
        ids.resize(context, pad);
        let attended = if self.masked && !left && found > 0 { found } else { context };
        Ok(Tokens { ids, attended })
    }

    fn ids(&self, text: &str) -> std::result::Result<Vec<u32>, String> {
        let context = self.settings.context;
        match &self.kind {
            Kind::OpenClip(tokenizer, how) => {
                let [start, end] = [0, 1].map(|i| 49_406 + i);
                let mut ids = vec![start];
                ids.extend(words(tokenizer, &clean(text, *how))?);
                ids.truncate(context.saturating_sub(1));
                ids.push(end);
                Ok(ids)
            }
            Kind::Json { tokenizer, before, zero } => {
                let prepared = match before {
                    Before::Nothing => text.to_owned(),
                    Before::Lower => text.chars().flat_map(char::to_lowercase).collect(),
                    Before::Canonicalize { lower } => canonicalize(text, *lower),
                    Before::Clean(how) => clean(text, *how),
                };
                let encoding = tokenizer.encode_fast(prepared, true).map_err(|error| error.to_string())?;
                Ok(encoding.get_ids().iter().map(|id| if Some(*id) == *zero { 0 } else { *id }).collect())
            }
            Kind::Pieces { model, lower, end } => {
                let mut ids = model.encode(text, *lower)?;
                ids.truncate(context.saturating_sub(1));
                if ids.last() != Some(end) {
                    ids.push(*end);
                }
                Ok(ids)
            }
        }
    }
}

/// The ids of a cleaned text's words by open_clip's tokenizer. Words that are special tokens are looked up whole.
fn words(tokenizer: &tokenizers::Tokenizer, text: &str) -> std::result::Result<Vec<u32>, String> {
    let mut pieces = PreTokenizedString::from(text);
    let Some(cut) = tokenizer.get_pre_tokenizer() else { return Ok(Vec::new()) };
    let found = cut.pre_tokenize(&mut pieces).and_then(|()| {
        pieces.tokenize(|word| match ENDS.iter().position(|end| *end == word.get()) {
            Some(i) => Ok(vec![Token::new(49_406 + i as u32, word.get().to_owned(), (0, word.get().len()))]),
            None => tokenizer.get_model().tokenize(word.get()),
        })
    });
    found.map_err(|error| error.to_string())?;
    let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
    Ok(splits.into_iter().filter_map(|(.., tokens)| tokens.as_ref()).flatten().map(|token| token.id).collect())
}

/// CLIP's tokenizer from `vocab.json` and `merges.txt`.
fn clip_files(vocabulary: &[u8], merges: &[u8]) -> std::result::Result<tokenizers::Tokenizer, String> {
    let tokens = serde_json::from_slice(vocabulary).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(merges).map_err(|error| error.to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    parsed(openai::transformers(Vocabulary { tokens, merges: lines.map(str::to_owned).collect() })?)
}

fn parsed(json: Value) -> std::result::Result<tokenizers::Tokenizer, String> {
    serde_json::from_value(json).map_err(|error: serde_json::Error| error.to_string())
}
