//! Words → ids of tokens, as the model's library makes them. Which rules a model needs is plain data ([`Settings`]); the
//! tokenizers themselves need the feature `text`.

#[cfg(feature = "text")]
mod clean;
#[cfg(feature = "text")]
mod files;
#[cfg(feature = "text")]
mod openai;
#[cfg(feature = "text")]
mod sentencepiece;
mod settings;
#[cfg(feature = "text")]
mod tokenizer;

pub use settings::{Clean, Library, Settings};
#[cfg(feature = "text")]
pub use tokenizer::{Tokenizer, Tokens};
