//! What Python may give as images, brought to a form that needs no interpreter.

use std::ops::Range;
use std::path::PathBuf;

use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString, PyTuple};
use vit_gpu::{Error, Image, Orient, Result};

use crate::errors::{image as refused, said};

/// DLPack's numbers of devices whose memory the processor can read: its own, and pages that CUDA and ROCm have pinned.
const HOST_MEMORY: [i32; 3] = [1, 3, 11];

/// The images of one call.
pub enum Images<'py> {
    /// One image.
    One(Bound<'py, PyAny>),
    /// A list or tuple of images.
    List(Vec<Bound<'py, PyAny>>),
    /// A NumPy array `[N, H, W, C]`.
    Stack(Bound<'py, PyUntypedArray>),
}

/// An image that is still to be decoded, and what errors call it.
pub struct Source {
    pub name: String,
    kind: Result<Kind>,
}

enum Kind {
    Path(PathBuf),
    File(PyBackedBytes),
    Pixels(Image),
}

impl<'py> Images<'py> {
    /// Tells one image from many. Arrays of many images are not copied yet.
    pub fn of(images: &Bound<'py, PyAny>) -> PyResult<Images<'py>> {
        if let Ok(list) = images.cast::<PyList>() {
            return Ok(Images::List(list.iter().collect()));
        }
        if let Ok(tuple) = images.cast::<PyTuple>() {
            return Ok(Images::List(tuple.iter().collect()));
        }
        Ok(match array(images)? {
            Some(Ok(array)) if array.ndim() == 4 => Images::Stack(array),
            _ => Images::One(images.clone()),
        })
    }

    /// Whether the call is given one image, not a list of one.
    pub fn is_one(&self) -> bool {
        matches!(self, Images::One(_))
    }

    pub fn len(&self) -> usize {
        match self {
            Images::One(_) => 1,
            Images::List(list) => list.len(),
            Images::Stack(array) => array.shape()[0],
        }
    }

    /// Some of the images. Pixels are copied, since Python may change its arrays while the interpreter's lock is released.
    pub fn sources(&self, range: Range<usize>) -> PyResult<Vec<Source>> {
        range.map(|i| self.source(i)).collect()
    }

    fn source(&self, i: usize) -> PyResult<Source> {
        let (item, name) = match self {
            Images::One(image) => (image.clone(), "image".to_owned()),
            Images::List(list) => (list[i].clone(), format!("image {i}")),
            Images::Stack(array) => (array.get_item(i)?, format!("image {i}")),
        };
        let kind = kind(&item, &name)?;
        Ok(match kind {
            Ok(Kind::Path(path)) => Source { name: path.display().to_string(), kind: Ok(Kind::Path(path)) },
            kind => Source { name, kind },
        })
    }
}

impl Source {
    /// Reads and decodes it; files are turned as their EXIF data says.
    pub fn decode(self) -> (String, Result<Image>) {
        let image = self.kind.and_then(|kind| match kind {
            Kind::Path(path) => Image::open(path),
            Kind::File(bytes) => Image::decode(&bytes, &self.name, Orient::Exif),
            Kind::Pixels(image) => Ok(image),
        });
        (self.name, image)
    }
}

/// Finds out what an object is. The outer error is one that ends the call whatever `on_error` says.
fn kind(item: &Bound<'_, PyAny>, name: &str) -> PyResult<Result<Kind>> {
    if item.is_instance_of::<PyBytes>() || item.is_instance_of::<PyByteArray>() {
        return Ok(Ok(Kind::File(item.extract()?)));
    }
    if item.is_instance_of::<PyString>() {
        return Ok(Ok(Kind::Path(item.extract()?)));
    }
    match array(item)? {
        Some(Ok(array)) => return Ok(pixels(&array, name)?.map(Kind::Pixels)),
        Some(Err(reason)) => return Ok(Err(refused(name, reason))),
        None => {}
    }
    if is_pillow(item)? {
        return Ok(match pillow(item, name) {
            Ok(image) => image.map(Kind::Pixels),
            Err(error) => Err(refused(name, said(item.py(), error)?)),
        });
    }
    if item.hasattr(intern!(item.py(), "__fspath__"))? {
        return Ok(Ok(Kind::Path(item.extract()?)));
    }
    let kind = item.get_type().fully_qualified_name()?;
    Ok(Err(refused(
        name,
        format!("a {kind} is no image: a path, bytes, a Pillow image, an array or a tensor is expected"),
    )))
}

/// A NumPy array with channels last: the object itself, or what DLPack shares of a tensor, whose channels come first.
/// `None` for what is neither; the inner error says why a tensor can't be shared.
fn array<'py>(item: &Bound<'py, PyAny>) -> PyResult<Option<Result<Bound<'py, PyUntypedArray>, String>>> {
    let py = item.py();
    if let Ok(array) = item.cast::<PyUntypedArray>() {
        return Ok(Some(Ok(array.clone())));
    }
    // Classes have the method too, as a function.
    if item.is_instance_of::<pyo3::types::PyType>() || !item.hasattr(intern!(py, "__dlpack_device__"))? {
        return Ok(None);
    }
    match tensor(item) {
        Ok(shared) => Ok(Some(shared)),
        Err(error) => Ok(Some(Err(format!("the tensor can't be shared through DLPack: {}", said(py, error)?)))),
    }
}

fn tensor<'py>(item: &Bound<'py, PyAny>) -> PyResult<Result<Bound<'py, PyUntypedArray>, String>> {
    let py = item.py();
    let (device, _): (i32, i32) = item.call_method0(intern!(py, "__dlpack_device__"))?.extract()?;
    if !HOST_MEMORY.contains(&device) {
        return Ok(Err("the tensor is not in the processor's memory: use tensor.cpu()".to_owned()));
    }
    let array = py.import("numpy")?.call_method1("from_dlpack", (item,))?.cast_into::<PyUntypedArray>()?;
    let shape = array.shape();
    let channels_last = match shape.len() {
        3 if shape[0] == 3 => vec![1, 2, 0],
        4 if shape[1] == 3 => vec![0, 2, 3, 1],
        _ => return Ok(Err(format!("the tensor has shape {shape:?}, but [3, H, W] or [N, 3, H, W] is expected"))),
    };
    let array = array.call_method1(intern!(py, "transpose"), (channels_last,))?;
    Ok(Ok(array.cast_into::<PyUntypedArray>()?))
}

/// Copies the pixels of an array `[H, W, 3]`, or of a grey one `[H, W]`.
fn pixels(array: &Bound<'_, PyUntypedArray>, name: &str) -> PyResult<Result<Image>> {
    let py = array.py();
    let Ok(bytes) = array.cast::<PyArrayDyn<u8>>() else {
        let reason = format!("the values are {}, but uint8 from 0 to 255 is expected", array.dtype());
        return Ok(Err(refused(name, reason)));
    };
    let shape = array.shape();
    let (height, width, grey) = match *shape {
        [height, width] => (height, width, true),
        [height, width, 3] => (height, width, false),
        _ => {
            let reason = format!("the array has shape {shape:?}, but [H, W, 3] or [H, W] is expected");
            return Ok(Err(refused(name, reason)));
        }
    };
    let contiguous = py.import("numpy")?.call_method1("ascontiguousarray", (bytes,))?.cast_into::<PyArrayDyn<u8>>()?;
    let values = contiguous.try_readonly()?;
    let values = values.as_slice()?;
    let rgb = if grey { values.iter().flat_map(|&value| [value; 3]).collect() } else { values.to_vec() };
    Ok(of_rgb(width, height, rgb, name))
}

fn of_rgb(width: usize, height: usize, rgb: Vec<u8>, name: &str) -> Result<Image> {
    Image::from_rgb(width, height, rgb).map_err(|error| crate::errors::of_image(error, name))
}

/// Whether an object is a Pillow image. If Pillow was not imported, nothing is.
fn is_pillow(item: &Bound<'_, PyAny>) -> PyResult<bool> {
    let modules = item.py().import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    match modules.get_item("PIL.Image")? {
        Some(module) => item.is_instance(&module.getattr("Image")?),
        None => Ok(false),
    }
}

/// Turns a Pillow image as its EXIF data says, as is done with files, and converts it to RGB with Pillow.
fn pillow(item: &Bound<'_, PyAny>, name: &str) -> PyResult<Result<Image>> {
    let py = item.py();
    let turned = py.import("PIL.ImageOps")?.call_method1("exif_transpose", (item,))?;
    let rgb = turned.call_method1("convert", ("RGB",))?;
    let (width, height): (usize, usize) = rgb.getattr("size")?.extract()?;
    let bytes: PyBackedBytes = rgb.call_method0("tobytes")?.extract()?;
    Ok(of_rgb(width, height, bytes.to_vec(), name))
}

const _: () = {
    const fn sent<T: Send>() {}
    sent::<Source>();
    sent::<Error>();
};
