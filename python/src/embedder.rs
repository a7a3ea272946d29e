//! `vit_gpu.Embedder`.

use std::path::PathBuf;

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use vit_gpu::Session;

use crate::batches::each;
use crate::errors::exception;
use crate::images::Images;
use crate::options::{DeviceArgument, SizeArgument, session};
use crate::results::rows;
use crate::texts::Texts;

/// A model that turns images into vectors, which are close to each other where the images are alike.
///
/// The arguments and errors are those of Classifier. A model without a classification head can be used too.
#[pyclass(frozen, module = "vit_gpu")]
pub struct Embedder {
    session: Session,
}

#[pymethods]
impl Embedder {
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
    ) -> PyResult<Embedder> {
        Ok(Embedder { session: session(py, model, device, precision, threads, image_size)? })
    }

    /// The pooled vector of each image: what the model's head is given, or its pooler's or projection's output.
    ///
    /// Args:
    ///     images: One image, or many, as for Classifier.
    ///     normalize: Whether each vector is scaled to length 1, so that the dot product of two is their cosine.
    ///     on_error: "raise" raises the error of the first image that has no result. "none" gives a row of NaN in its place.
    ///
    /// Returns:
    ///     A float32 array [N, F] of N images and F values. N is 1 for one image.
    ///
    /// Raises:
    ///     ImageError: An image can't be read, has another dtype or shape, or its result is not finite.
    ///     DeviceError: The device failed, or its memory is exhausted.
    ///     ArgumentError: An argument has a value that it can't have.
    #[pyo3(signature = (images, normalize=false, *, on_error="raise"))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        normalize: bool,
        on_error: &str,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let embedder = vit_gpu::Embedder::new(self.session.clone()).normalized(normalize);
        let run = |batch: &[_]| embedder.embed_batch(batch);
        let results = each(py, &self.session, &Images::of(images)?, on_error.parse()?, run)?;
        rows(py, results, &[self.dim()])
    }

    /// The tokens of each image: the class token and its like first, then the patches, row by row.
    ///
    /// Args:
    ///     images: One image, or many, as for Classifier.
    ///     layer: None gives the last hidden state. A number from 0 to the depth gives that hidden state: the input of that
    ///         block, or, at the depth, the last block's output, not yet normalised.
    ///     on_error: "raise" raises the error of the first image that has no result. "none" gives NaN in its place.
    ///
    /// Returns:
    ///     A float32 array [N, T, D] of N images, T tokens and D values. N is 1 for one image.
    ///
    /// Raises:
    ///     As calling the embedder; ArgumentError for a layer beyond the depth.
    #[pyo3(signature = (images, layer=None, *, on_error="raise"))]
    fn tokens<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        layer: Option<usize>,
        on_error: &str,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let run = |batch: &[_]| self.session.tokens_each(batch, layer);
        let results = each(py, &self.session, &Images::of(images)?, on_error.parse()?, run)?;
        let (tokens, width) = self.session.model().token_shape();
        rows(py, results, &[tokens, width])
    }

    /// The vectors of texts, by a model of images and texts (CLIP, SigLIP), to be compared with those of images.
    ///
    /// Args:
    ///     texts: One text, or a list of them.
    ///     normalize: Whether each vector is scaled to length 1, so that the dot product with another is their cosine.
    ///
    /// Returns:
    ///     A float32 array [N, F] of N texts and F values. N is 1 for one text.
    ///
    /// Raises:
    ///     ModelError: The model has no text half, or its tokenizer's files are missing.
    ///     DeviceError: The device failed, or its memory is exhausted.
    #[pyo3(signature = (texts, normalize=false))]
    fn texts<'py>(&self, py: Python<'py>, texts: Texts, normalize: bool) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let texts = texts.list();
        let (vectors, dim) = py
            .detach(|| {
                let embedder = vit_gpu::TextEmbedder::new(self.session.clone())?.normalized(normalize);
                let vectors = if texts.is_empty() { Vec::new() } else { embedder.embed_batch(&texts)? };
                Ok((vectors, embedder.dim()))
            })
            .map_err(|error| exception(&error))?;
        rows(py, vectors.into_iter().map(Some).collect(), &[dim])
    }

    /// F, the number of values of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.session.model().embedding_dim()
    }

    /// The number of blocks; hidden states are counted from 0 to this.
    #[getter]
    fn depth(&self) -> usize {
        self.session.model().depth()
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
        format!("<vit_gpu.Embedder {} on {} in {}>", self.model(), self.device(), self.precision())
    }
}
