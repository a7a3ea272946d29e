//! Which tokens a token attends to.

use serde::{Deserialize, Serialize};

/// Which tokens a token attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attends {
    /// All tokens.
    #[default]
    All,
    /// Itself and those before it (CLIP's texts).
    Causal,
    /// The first so many tokens; the others are padding.
    First(usize),
}

impl Attends {
    /// Checks that it is possible with so many tokens, and with images that are or are not independent of each other.
    pub(super) fn check(self, tokens: usize, independent: bool) -> Result<(), String> {
        match self {
            Attends::All => Ok(()),
            _ if !independent => Err(format!("attention to {self:?} tokens, and images depend on each other")),
            Attends::First(count) if !(1..=tokens).contains(&count) => {
                Err(format!("{count} of {tokens} tokens are attended to"))
            }
            Attends::Causal | Attends::First(_) => Ok(()),
        }
    }
}
