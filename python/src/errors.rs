//! The crate's errors as Python's exceptions, which `vit_gpu/_errors.py` defines.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use vit_gpu::Error;

/// Exceptions of the Python half.
mod exceptions {
    use pyo3::import_exception;

    import_exception!(vit_gpu._errors, VitGpuError);
    import_exception!(vit_gpu._errors, ArgumentError);
    import_exception!(vit_gpu._errors, DeviceError);
    import_exception!(vit_gpu._errors, ImageError);
    import_exception!(vit_gpu._errors, ModelError);
}
use exceptions::{ArgumentError, DeviceError, ImageError, ModelError, VitGpuError};

/// The exception for an error of the crate, with the same line of text.
pub fn exception(error: &Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Image { .. } | Error::NotFinite { .. } => ImageError::new_err(text),
        Error::NoDevice { .. }
        | Error::Precision { .. }
        | Error::Kernels { .. }
        | Error::Device { .. }
        | Error::DeviceLost { .. }
        | Error::OutOfMemory { .. }
        | Error::Limit { .. } => DeviceError::new_err(text),
        // Errors of reading an image file are `Error::Image`, so that these are the model's.
        Error::Io { .. }
        | Error::Safetensors { .. }
        | Error::Config { .. }
        | Error::MissingTensor { .. }
        | Error::WrongShape { .. }
        | Error::Contradiction { .. }
        | Error::UnusedTensors { .. }
        | Error::Model { .. }
        | Error::ImageSize { .. }
        | Error::Hub { .. }
        | Error::NoHead { .. }
        | Error::NoText { .. } => ModelError::new_err(text),
        Error::Argument { .. } => ArgumentError::new_err(text),
        _ => VitGpuError::new_err(text),
    }
}

/// An argument with a value that it can't have.
pub fn argument(text: impl Into<String>) -> PyErr {
    ArgumentError::new_err(text.into())
}

/// The error of an image that can't be taken.
pub fn image(name: &str, reason: impl Into<String>) -> Error {
    Error::Image { image: name.to_owned(), reason: reason.into(), source: None }
}

/// The same error under the name of its image, which the crate knows by its place in a batch only.
pub fn of_image(error: Error, name: &str) -> Error {
    match error {
        Error::Image { reason, source, .. } => Error::Image { image: name.to_owned(), reason, source },
        Error::NotFinite { output, row, weight, precision, .. } => {
            Error::NotFinite { output, row, image: Some(name.to_owned()), weight, precision }
        }
        other => other,
    }
}

/// What another Python library (Pillow, NumPy, PyTorch) said as it failed, in one line.
///
/// # Errors
/// The exception itself if it is none of a library but an end of the program, such as `KeyboardInterrupt`.
pub fn said(py: Python<'_>, error: PyErr) -> PyResult<String> {
    if !error.is_instance_of::<PyException>(py) {
        return Err(error);
    }
    Ok(error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
}
