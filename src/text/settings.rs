//! How a model's library turns texts into the ids of tokens.

/// Which library's rules hold, and the sizes that ids must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whose rules hold.
    pub library: Library,
    /// Ids of a text, padding included (T).
    pub context: usize,
    /// How many tokens the model has; ids are smaller.
    pub vocab_size: usize,
}

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// transformers' tokenizer of CLIP, from the files beside the weights, or OpenAI's vocabulary where there are none.
    Clip,
    /// transformers' tokenizer of SigLIP or SigLIP 2, from the files beside the weights.
    Siglip,
    /// open_clip's own tokenizer, with OpenAI's vocabulary.
    OpenClip(Clean),
    /// A tokenizer of transformers, from the files beside the weights, used by open_clip.
    OpenClipFiles {
        /// How a text is cleaned.
        clean: Clean,
        /// Whether the ids of the separator become 0.
        strip_sep: bool,
    },
}

/// How open_clip cleans a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clean {
    /// White space becomes single spaces.
    Whitespace,
    /// And letters become small.
    Lower,
    /// And punctuation is removed.
    Canonicalize,
}

impl Clean {
    /// The cleaning that open_clip calls so.
    #[must_use]
    pub fn named(name: &str) -> Option<Clean> {
        match name {
            "whitespace" => Some(Clean::Whitespace),
            "lower" => Some(Clean::Lower),
            "canonicalize" => Some(Clean::Canonicalize),
            _ => None,
        }
    }
}
