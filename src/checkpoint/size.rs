//! The size at which a model is opened.

/// The size a model is to run at.
#[derive(Clone, Copy)]
pub enum Size {
    /// The size that the files give.
    Own,
    /// A size that the user asks for: positions are resampled by the rule for loading.
    Asked((usize, usize)),
    /// The size of a tensor that is to be run: positions are resampled by the rule for running.
    Followed((usize, usize)),
}

impl Size {
    /// The size, unless it is the model's own.
    pub fn wanted(self) -> Option<(usize, usize)> {
        match self {
            Size::Own => None,
            Size::Asked(size) | Size::Followed(size) => Some(size),
        }
    }
}
