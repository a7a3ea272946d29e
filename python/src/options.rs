//! What both constructors are given: a model, a device, and how to run.

use std::path::PathBuf;

use pyo3::prelude::*;
use vit_gpu::{Device, Model, Precision, Session};

use crate::errors::exception;

/// A device by its position or by a text.
#[derive(FromPyObject)]
pub enum DeviceArgument {
    Index(usize),
    Text(String),
}

impl DeviceArgument {
    fn device(self) -> Device {
        match self {
            DeviceArgument::Index(index) => Device::Index(index),
            // Any text is a request; whether something matches is found out when the session is built.
            DeviceArgument::Text(text) => text.parse().unwrap_or_default(),
        }
    }
}

/// The size of images: one number for both sides, or height and width.
#[derive(FromPyObject)]
pub enum SizeArgument {
    Square(usize),
    Sides(usize, usize),
}

/// Opens a model on a device, without the interpreter's lock.
pub fn session(
    py: Python<'_>,
    model: Option<PathBuf>,
    device: Option<DeviceArgument>,
    precision: &str,
    threads: Option<usize>,
    image_size: Option<SizeArgument>,
) -> PyResult<Session> {
    let precision: Precision = precision.parse().map_err(|error| exception(&error))?;
    let device = device.map_or(Device::Auto, DeviceArgument::device);
    let builder = Session::builder().device(device).precision(precision).threads(threads.unwrap_or(0));
    let size = image_size.map(|size| match size {
        SizeArgument::Square(side) => (side, side),
        SizeArgument::Sides(height, width) => (height, width),
    });
    let open = || {
        let model = match (model, size) {
            (None, None) => Model::bundled(),
            (None, Some(size)) => Model::bundled_at(size),
            (Some(path), size) => match path.to_str() {
                Some(name) => Model::named(name, size, |_| {}),
                None => Model::open(path),
            },
        };
        builder.build(model?)
    };
    py.detach(open).map_err(|error| exception(&error))
}

/// What is done with an image that has no result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Its error is raised.
    Raise,
    /// It has no result, and the others have theirs.
    None,
}

impl std::str::FromStr for OnError {
    type Err = PyErr;

    fn from_str(text: &str) -> PyResult<OnError> {
        match text {
            "raise" => Ok(OnError::Raise),
            "none" => Ok(OnError::None),
            _ => Err(crate::errors::argument(format!("on_error is `{text}`, but can only be `raise` or `none`"))),
        }
    }
}
