//! The one error type. Every variant carries the names a reader needs to act: the file, the tensor, the limit, the adapter. What
//! a command line or an app would advise is theirs to say.

use std::path::{Path, PathBuf};

/// An error of another library, beneath one of this crate's: what [`std::error::Error::source`] gives.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
///
/// The text is one line and includes what the source says; [`Error::is_input`] tells an image at fault from a model, device or usage at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path as it was given.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An image could not be decoded, or is refused (too large, truncated).
    #[error("{image}: {reason}")]
    Image {
        /// The image's path, or what the caller named it; `image N`, from 0, for an image of a call.
        image: String,
        /// Why it was refused.
        reason: String,
        /// The decoder's or the system's own error, where there is one.
        source: Option<Source>,
    },
    /// A weights file breaks the safetensors format.
    #[error("{}: not a valid safetensors file: {reason}", file.display())]
    Safetensors {
        /// The weights file.
        file: PathBuf,
        /// Which rule it breaks.
        reason: String,
    },
    /// A configuration file is missing a field, or holds a value that can't be used.
    #[error("{file}: {reason}")]
    Config {
        /// The file at fault.
        file: String,
        /// The field and why.
        reason: String,
        /// The JSON reader's own error, where there is one.
        source: Option<Source>,
    },
    /// The model needs a tensor that the checkpoint does not have.
    #[error("{file}: tensor `{tensor}` is missing ({family} layout, shape {expected:?} expected)")]
    MissingTensor {
        /// The tensor as its family names it.
        tensor: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The family that was detected.
        family: &'static str,
        /// The checkpoint.
        file: String,
    },
    /// A tensor does not have the shape its configuration demands.
    #[error("{file}: tensor `{tensor}` has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// The tensor as its family names it.
        tensor: String,
        /// The shape the configuration demands.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
        /// The checkpoint.
        file: String,
    },
    /// The configuration and the tensors state different values.
    #[error("{file}: {}", contradiction(key, value, tensor, shape.as_deref()))]
    Contradiction {
        /// The checkpoint.
        file: String,
        /// The key of the configuration.
        key: String,
        /// Its value.
        value: String,
        /// The tensor that contradicts the value, or that the value requires and the file does not have.
        tensor: String,
        /// The tensor's shape in the file; `None` where it is missing.
        shape: Option<Vec<usize>>,
    },
    /// The checkpoint has tensors that the model does not use and that are not known to be ignorable.
    #[error("{file}: {} unused tensor(s), so this is not the model it seems to be: {}", tensors.len(), tensors.join(", "))]
    UnusedTensors {
        /// Their names, sorted.
        tensors: Vec<String>,
        /// The checkpoint.
        file: String,
    },
    /// The checkpoint or its configuration can't be run.
    #[error("{file}: {reason}")]
    Model {
        /// The checkpoint.
        file: String,
        /// Why it can't be run.
        reason: String,
    },
    /// Preprocessing gives images of another size than the model takes, by what its files say.
    #[error("{file}: preprocessing gives images of {}x{}, the model takes {}x{}", preprocessed.0, preprocessed.1, model.0, model.1)]
    ImageSize {
        /// The checkpoint.
        file: String,
        /// Height and width after preprocessing.
        preprocessed: (usize, usize),
        /// Height and width that the model takes.
        model: (usize, usize),
    },
    /// The model has no classification head, so it can't name classes; it can be used for embeddings.
    #[error("{model} has no classification head")]
    NoHead {
        /// The checkpoint.
        model: String,
    },
    /// The model can't embed texts: it has no text half, or one that can't be run.
    #[error("{model} can't read texts: {reason}")]
    NoText {
        /// The checkpoint.
        model: String,
        /// What is missing or not supported.
        reason: String,
    },
    /// Tensors given to an operation or a session do not fit each other.
    #[error("{what}: {reason}")]
    Shape {
        /// The operation or input.
        what: String,
        /// Expected and found shapes.
        reason: String,
    },
    /// No adapter matches the request, or several do.
    #[error("device `{request}`: {reason}")]
    NoDevice {
        /// What was asked for.
        request: String,
        /// Why no adapter, or more than one, was found.
        reason: String,
    },
    /// The device does not compute in the precision that was asked for.
    #[error("{device}: it can't compute in {precision}, only in {}", available.join(" or "))]
    Precision {
        /// The adapter's name, or `cpu`.
        device: String,
        /// What was asked for.
        precision: &'static str,
        /// What it can compute in.
        available: &'static [&'static str],
    },
    /// The adapter, or the precision, does not have what the kernels that were asked for need. Only the program `vit-gpu` asks for
    /// kernels.
    #[error("{adapter}: {reason}")]
    Kernels {
        /// The adapter's name.
        adapter: String,
        /// The family of kernels.
        kernels: &'static str,
        /// The only precision that they compute in, if that is what is missing.
        precision: Option<&'static str>,
        /// What they need.
        reason: String,
    },
    /// The device refused a resource, a shader or a command.
    #[error("{adapter}: {reason}")]
    Device {
        /// The adapter's name.
        adapter: String,
        /// The driver's or wgpu's reason.
        reason: String,
        /// wgpu's own error, where there is one.
        source: Option<Source>,
    },
    /// The device was lost; open a new session.
    #[error("{adapter}: the device was lost: {reason}")]
    DeviceLost {
        /// The adapter's name.
        adapter: String,
        /// The driver's reason.
        reason: String,
    },
    /// Memory ran out on the device.
    #[error("{adapter}: out of memory while allocating {what}")]
    OutOfMemory {
        /// The adapter's name.
        adapter: String,
        /// What was being allocated.
        what: String,
    },
    /// A tensor is larger than the largest buffer that a shader of this device can read or write, and can't be split further.
    #[error("tensor `{tensor}` needs {bytes} bytes, but a buffer on this device can have at most {limit}")]
    Limit {
        /// The tensor's name in the graph.
        tensor: String,
        /// Its size.
        bytes: u64,
        /// The largest binding.
        limit: u64,
    },
    /// The result for one image contains an infinity or a NaN. The other images of the batch are not affected.
    #[error("{}: {}", image.clone().unwrap_or_else(|| format!("row {row} of the batch")), not_finite(output, weight.as_deref(), precision))]
    NotFinite {
        /// The output.
        output: String,
        /// The image, by its position from 0 among those of the call.
        row: usize,
        /// The image's name, where it has one.
        image: Option<String>,
        /// If a weight with a NaN or an infinity is the reason, its name.
        weight: Option<String>,
        /// The precision of the run.
        precision: &'static str,
    },
    /// An argument of a function has no meaning here.
    #[error("{reason}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// What it is, and what it may be.
        reason: String,
    },
    /// A model could not be taken from the hub, nor from its cache.
    #[error("{name}: {reason}")]
    Hub {
        /// The model as it was named.
        name: String,
        /// What kind of failure it is.
        fault: HubFault,
        /// The host, the file, the revision and why.
        reason: String,
    },
    /// An index of photos can't be used, or not for this.
    #[error("{}: {reason}", file.display())]
    Index {
        /// The index.
        file: PathBuf,
        /// Why: it is damaged, another process writes it, another model made it.
        reason: String,
        /// The database's or the system's own error, where there is one.
        source: Option<Source>,
    },
    /// Nothing may block in a browser. Only methods whose names end in `_async` can wait for a device there.
    #[error("this would block, which a browser does not allow: call the method whose name ends in `_async`")]
    Blocking,
    /// The crate was built without a feature that this needs.
    #[error("{what} needs the feature `{feature}`, which this build of vit-gpu does not have")]
    Feature {
        /// What was asked for.
        what: String,
        /// The feature of `Cargo.toml`.
        feature: &'static str,
    },
}

/// Kinds of [`Error::Hub`], for an app that asks for a token, or tries again later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubFault {
    /// The hub, or the host that it sends to, does not answer, answers with a server's error, or allows no more requests for now.
    Unreachable,
    /// `HF_HUB_OFFLINE` is set, and the cache does not have the whole model.
    Offline,
    /// There is no such model, or it is private and needs a token.
    NotFound,
    /// The model's owners have not granted access to this user.
    Gated,
    /// The model has no such branch, tag or commit.
    Revision,
    /// A download ended early, stalled, or did not end where it should.
    Cut,
    /// What came is not what the hub announced: another digest, a hostile file name, an answer that makes no sense.
    Damaged,
    /// All weights are pickled. They are never read, because unpickling runs code from the file.
    Pickled {
        /// The weights file.
        file: String,
    },
    /// It has no weights that can be read, or several of which none is the main one.
    NoWeights,
}

/// What an [`Error::Contradiction`] says.
fn contradiction(key: &str, value: &str, tensor: &str, shape: Option<&[usize]>) -> String {
    match shape {
        Some(shape) => format!("`{key}` is {value} in the configuration, but tensor `{tensor}` has shape {shape:?}"),
        None => format!("tensor `{tensor}` is missing: `{key}` is {value} in the configuration"),
    }
}

/// What an [`Error::NotFinite`] says of its output.
fn not_finite(output: &str, weight: Option<&str>, precision: &str) -> String {
    let reason = match (weight, precision) {
        (Some(weight), "f16") => {
            format!("weight `{weight}` holds a NaN, an infinity, or a value beyond the range of f16")
        }
        (Some(weight), _) => format!("weight `{weight}` holds a NaN or an infinity"),
        (None, "f16") => "its values pass the range of f16; f32 has a larger range".to_owned(),
        (None, _) => "the input, or what is computed from it, holds a NaN or an infinity".to_owned(),
    };
    format!("`{output}` is not finite in {precision}: {reason}")
}

impl Error {
    /// Whether the error concerns one image only, so that other images may still succeed.
    #[must_use]
    pub fn is_input(&self) -> bool {
        matches!(self, Error::Image { .. } | Error::NotFinite { .. })
    }

    /// The same error for image `index` of a call, which has no name of its own.
    pub(crate) fn of_image(self, index: usize) -> Error {
        match self {
            Error::Image { reason, source, .. } => Error::Image { image: format!("image {index}"), reason, source },
            Error::NotFinite { output, image, weight, precision, .. } => {
                Error::NotFinite { output, row: index, image, weight, precision }
            }
            other => other,
        }
    }

    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    pub(crate) fn image(image: impl Into<String>, reason: impl ToString) -> Error {
        Error::Image { image: image.into(), reason: reason.to_string(), source: None }
    }

    /// An image's error that another library's error is the reason for.
    #[cfg(feature = "decode")]
    pub(crate) fn image_by(image: impl Into<String>, source: impl Into<Source>) -> Error {
        let source = source.into();
        Error::Image { image: image.into(), reason: one_line(&source), source: Some(source) }
    }

    pub(crate) fn config(file: impl Into<String>, reason: impl ToString) -> Error {
        Error::Config { file: file.into(), reason: reason.to_string(), source: None }
    }

    /// A configuration's error that another library's error is the reason for.
    pub(crate) fn config_by(file: impl Into<String>, source: impl Into<Source>) -> Error {
        let source = source.into();
        Error::Config { file: file.into(), reason: one_line(&source), source: Some(source) }
    }

    #[cfg(feature = "gpu")]
    pub(crate) fn device(adapter: impl Into<String>, reason: impl ToString) -> Error {
        Error::Device { adapter: adapter.into(), reason: reason.to_string(), source: None }
    }

    /// A device's error that another library's error is the reason for.
    #[cfg(any(feature = "gpu", all(feature = "cpu", not(target_family = "wasm"))))]
    pub(crate) fn device_by(adapter: impl Into<String>, source: impl Into<Source>) -> Error {
        let source = source.into();
        Error::Device { adapter: adapter.into(), reason: one_line(&source), source: Some(source) }
    }

    pub(crate) fn argument(name: &'static str, reason: impl ToString) -> Error {
        Error::Argument { name, reason: reason.to_string() }
    }

    pub(crate) fn model(file: impl Into<String>, reason: impl ToString) -> Error {
        Error::Model { file: file.into(), reason: reason.to_string() }
    }

    pub(crate) fn shape(what: impl Into<String>, reason: impl ToString) -> Error {
        Error::Shape { what: what.into(), reason: reason.to_string() }
    }
}

/// A message of several lines as one.
fn one_line(text: &impl ToString) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
