//! `vit_gpu.Classifier`.

use std::path::PathBuf;

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyList;
use vit_gpu::Session;

use crate::batches::each;
use crate::errors::{argument, exception};
use crate::images::Images;
use crate::options::{DeviceArgument, SizeArgument, session};
use crate::results::{predictions, rows};

/// A model that names what is in an image.
///
/// Args:
///     model: A folder with `model.safetensors` and `config.json`, or a `.safetensors` or `.npz` file; or, if there is no such path,
///         a name on the Hugging Face Hub (owner/name[@revision], or a short name of `vit-gpu models`), which is downloaded into
///         the cache that `huggingface_hub` uses unless it is there. None is the small model
///         within the package, which knows CIFAR-10's ten classes.
///     device: "auto" (the best real GPU, else the processor), "gpu", "cpu", a part of an adapter's name, or an adapter's index
///         in `adapters()`.
///     precision: "f32", "f16" (GPUs) or "i8" (the processor).
///     threads: Threads on the processor. None takes one per available core.
///     image_size: Height and width, or one number for both, to run at another size than the model's own.
///
/// Raises:
///     ModelError: The model can't be read or run, or has no classes.
///     DeviceError: No device matches, or it lacks the precision.
///     ArgumentError: An argument has a value that it can't have.
#[pyclass(frozen, module = "vit_gpu")]
pub struct Classifier {
    session: Session,
}

#[pymethods]
impl Classifier {
    #[new]
    #[pyo3(
        signature = (model=None, *, device=None, precision="f32", threads=None, image_size=None),
        text_signature = "(model=None, *, device='auto', precision='f32', threads=None, image_size=None)"
    )]
    fn new(
        py: Python<'_>,
        model: Option<PathBuf>,
        device: Option<DeviceArgument>,
        precision: &str,
        threads: Option<usize>,
        image_size: Option<SizeArgument>,
    ) -> PyResult<Classifier> {
        let session = session(py, model, device, precision, threads, image_size)?;
        let checked = vit_gpu::Classifier::new(session).map_err(|error| exception(&error))?;
        Ok(Classifier { session: checked.session().clone() })
    }

    /// The classes with the highest scores, best first.
    ///
    /// Args:
    ///     images: One image, or a list, a tuple or a stack of them. An image is a path, the bytes of a file, a Pillow image, a
    ///         uint8 array [H, W, 3] or [H, W], or a uint8 tensor [3, H, W]; a stack is a uint8 array [N, H, W, 3] or a uint8
    ///         tensor [N, 3, H, W].
    ///     top_k: How many classes to give; all of them where there are fewer.
    ///     on_error: "raise" raises the error of the first image that has no result. "none" gives None in its place.
    ///
    /// Returns:
    ///     A list of Prediction(index, label, score) for one image; a list of such lists for many.
    ///
    /// Raises:
    ///     ImageError: An image can't be read, has another dtype or shape, or its result is not finite.
    ///     DeviceError: The device failed, or its memory is exhausted.
    ///     ArgumentError: An argument has a value that it can't have.
    #[pyo3(signature = (images, top_k=5, *, on_error="raise"))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        top_k: i64,
        on_error: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let top_k = usize::try_from(top_k).ok().filter(|&k| k > 0);
        let top_k = top_k.ok_or_else(|| argument("top_k must be at least 1"))?;
        let images = Images::of(images)?;
        let run = |batch: &[_]| self.session.classify_each(batch, top_k);
        let results = each(py, &self.session, &images, on_error.parse()?, run)?;
        let lists = PyList::empty(py);
        for result in results {
            lists.append(result.map(|classes| predictions(py, classes)).transpose()?)?;
        }
        if images.is_one() { lists.get_item(0) } else { Ok(lists.into_any()) }
    }

    /// The logits of images: what the model's head gives, before softmax or sigmoid.
    ///
    /// Args:
    ///     images: One image, or many, as for calling the classifier.
    ///     on_error: "raise" raises the error of the first image that has no result. "none" gives a row of NaN in its place.
    ///
    /// Returns:
    ///     A float32 array [N, K] of N images and K classes. N is 1 for one image.
    ///
    /// Raises:
    ///     As calling the classifier.
    #[pyo3(signature = (images, *, on_error="raise"))]
    fn logits<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        on_error: &str,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let run = |batch: &[_]| self.session.logits_each(batch);
        let results = each(py, &self.session, &Images::of(images)?, on_error.parse()?, run)?;
        rows(py, results, &[self.session.model().num_classes()])
    }

    /// The model, as it was named.
    #[getter]
    fn model(&self) -> &str {
        self.session.model().name()
    }

    /// The adapter's name, or "cpu".
    #[getter]
    fn device(&self) -> &str {
        self.session.device()
    }

    /// "f32", "f16" or "i8".
    #[getter]
    fn precision(&self) -> &str {
        self.session.precision().name()
    }

    /// The names of the classes, None for a class without one.
    #[getter]
    fn labels(&self) -> Vec<Option<&str>> {
        let model = self.session.model();
        (0..model.num_classes()).map(|index| model.label(index)).collect()
    }

    /// Height and width, in pixels, that images are brought to.
    #[getter]
    fn image_size(&self) -> (usize, usize) {
        self.session.model().image_size()
    }

    /// Why the device is not the one that one may expect, such as no GPU being found; None if there is nothing to say.
    #[getter]
    fn note(&self) -> Option<&str> {
        self.session.note()
    }

    fn __repr__(&self) -> String {
        format!("<vit_gpu.Classifier {} on {} in {}>", self.model(), self.device(), self.precision())
    }
}
