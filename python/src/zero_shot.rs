//! `vit_gpu.ZeroShot`.

use std::path::PathBuf;

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::batches::each;
use crate::errors::{argument, exception};
use crate::images::Images;
use crate::options::{DeviceArgument, SizeArgument, session};
use crate::results::{predictions, rows};
use crate::texts::Texts;

/// Says which of several labels in words fits an image, by a model of images and texts (CLIP, SigLIP) and without training.
///
/// The labels are embedded once, when the object is made. The scores are those of transformers' pipeline
/// `zero-shot-image-classification`: with CLIP the softmax over all labels, with SigLIP the sigmoid of each label by itself.
///
/// Args:
///     model: As for Classifier; there is none within the package.
///     labels: The labels, such as ["a cat", "a dog"].
///     templates: The text that each label is put into, in place of {}; "This is a photo of {}." if None. Of several, the mean of
///         the label's vectors counts, as CLIP's authors did it.
///     device, precision, threads, image_size: As for Classifier.
///
/// Raises:
///     ModelError: The model can't be read or run, or has no text half.
///     DeviceError: No device matches, or it lacks the precision.
///     ArgumentError: An argument has a value that it can't have.
#[pyclass(frozen, module = "vit_gpu")]
pub struct ZeroShot(vit_gpu::ZeroShot);

#[pymethods]
impl ZeroShot {
    #[new]
    #[pyo3(
        signature = (model, labels, *, templates=None, device=None, precision="f32", threads=None, image_size=None),
        text_signature = "(model, labels, *, templates=None, device='auto', precision='f32', threads=None, image_size=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are Python's, with names")]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        labels: Vec<String>,
        templates: Option<Texts>,
        device: Option<DeviceArgument>,
        precision: &str,
        threads: Option<usize>,
        image_size: Option<SizeArgument>,
    ) -> PyResult<ZeroShot> {
        let session = session(py, Some(model), device, precision, threads, image_size)?;
        let made = py.detach(|| match templates {
            Some(templates) => vit_gpu::ZeroShot::with_templates(session, &labels, &templates.list()),
            None => vit_gpu::ZeroShot::new(session, &labels),
        });
        made.map(ZeroShot).map_err(|error| exception(&error))
    }

    /// The labels that fit best, best first.
    ///
    /// Args:
    ///     images: One image, or many, as for Classifier.
    ///     top_k: How many labels to give; all of them where there are fewer.
    ///     on_error: "raise" raises the error of the first image that has no result. "none" gives None in its place.
    ///
    /// Returns:
    ///     A list of Prediction(index, label, score) for one image; a list of such lists for many.
    ///
    /// Raises:
    ///     As calling a Classifier.
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
        let zero_shot = self.0.clone().top_k(top_k);
        let run = |batch: &[_]| zero_shot.classify_batch(batch);
        let results = each(py, self.0.session(), &images, on_error.parse()?, run)?;
        let lists = PyList::empty(py);
        for result in results {
            lists.append(result.map(|classes| predictions(py, classes)).transpose()?)?;
        }
        if images.is_one() { lists.get_item(0) } else { Ok(lists.into_any()) }
    }

    /// The logits of images: how well each label fits, before softmax or sigmoid.
    ///
    /// Args:
    ///     images: One image, or many, as for Classifier.
    ///     on_error: "raise" raises the error of the first image that has no result. "none" gives a row of NaN in its place.
    ///
    /// Returns:
    ///     A float32 array [N, K] of N images and K labels. N is 1 for one image.
    ///
    /// Raises:
    ///     As calling a Classifier.
    #[pyo3(signature = (images, *, on_error="raise"))]
    fn logits<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        on_error: &str,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let run = |batch: &[_]| {
            let vectors = self.0.session().embed_each(batch)?;
            Ok(vectors.into_iter().map(|vector| vector.map(|vector| self.0.logits(&vector))).collect())
        };
        let results = each(py, self.0.session(), &Images::of(images)?, on_error.parse()?, run)?;
        rows(py, results, &[self.0.num_labels()])
    }

    /// The labels.
    #[getter]
    fn labels(&self) -> Vec<Option<&str>> {
        (0..self.0.num_labels()).map(|index| self.0.label(index)).collect()
    }

    /// The model, as it was named.
    #[getter]
    fn model(&self) -> &str {
        self.0.model().name()
    }

    /// The adapter's name, or "cpu".
    #[getter]
    fn device(&self) -> &str {
        self.0.session().device()
    }

    /// "f32", "f16" or "i8".
    #[getter]
    fn precision(&self) -> &str {
        self.0.session().precision().name()
    }

    /// Height and width, in pixels, that images are brought to.
    #[getter]
    fn image_size(&self) -> (usize, usize) {
        self.0.model().image_size()
    }

    /// Why the device is not the one that one may expect, such as no GPU being found; None if there is nothing to say.
    #[getter]
    fn note(&self) -> Option<&str> {
        self.0.session().note()
    }

    fn __repr__(&self) -> String {
        let (labels, device, precision) = (self.0.num_labels(), self.device(), self.precision());
        format!("<vit_gpu.ZeroShot {} with {labels} labels on {device} in {precision}>", self.model())
    }
}
