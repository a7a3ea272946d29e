//! Classes that are described in words, without training.

use std::path::Path;
use std::sync::Arc;

use super::embedder::normalize;
use super::handle::Session;
use super::model::Model;
use super::tasks::Each;
use super::text_embedder::TextEmbedder;
use crate::error::{Error, Result};
use crate::labels::{Labels, Prediction, Scores};
use crate::preprocess::{Image, Pixels};

/// The text that a label is put into, as transformers' pipeline does it.
pub const TEMPLATE: &str = "This is a photo of {}.";

/// Says which of several labels fits a picture, by a model of images and texts (CLIP, SigLIP) and without training. Labels are
/// embedded once; clones share them and the model. Needs the feature `text`.
///
/// Scores are those of transformers' `zero-shot-image-classification`: with CLIP, the softmax over all labels; with SigLIP, the
/// sigmoid of each label by itself.
///
/// ```no_run
/// # fn main() -> vit_gpu::Result<()> {
/// use vit_gpu::{Image, Session, ZeroShot};
///
/// let session = Session::open("clip-vit-base-patch32")?;
/// let best = ZeroShot::new(session, &["a cat", "a dog"])?.classify(&Image::open("photo.jpg")?)?;
/// println!("{:?}", best[0].label);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ZeroShot {
    embedder: TextEmbedder,
    labels: Labels,
    count: usize,
    /// The labels' vectors, one after another, each of length 1.
    vectors: Arc<[f32]>,
    scale: f32,
    bias: f32,
    top_k: usize,
}

impl ZeroShot {
    /// Opens a model's files on the best device, and embeds the labels.
    ///
    /// # Errors
    /// As [`Session::open`] and [`ZeroShot::new`].
    pub fn open(path: impl AsRef<Path>, labels: &[impl AsRef<str>]) -> Result<ZeroShot> {
        ZeroShot::new(Session::open(path)?, labels)
    }

    /// Embeds the labels by a session, each as `This is a photo of LABEL.`
    ///
    /// # Errors
    /// As [`TextEmbedder::new`] and [`TextEmbedder::embed_batch`]; [`Error::Argument`] without labels.
    pub fn new(session: Session, labels: &[impl AsRef<str>]) -> Result<ZeroShot> {
        ZeroShot::with_templates(session, labels, &[TEMPLATE])
    }

    /// Embeds the labels within the given templates, in each of which `{}` stands for the label. Of several templates, the mean of
    /// the label's vectors counts, as CLIP's authors did it: each is scaled to length 1, and so is their mean.
    ///
    /// # Errors
    /// As [`ZeroShot::new`]; [`Error::Argument`] without templates, and for a template without `{}`.
    pub fn with_templates(
        session: Session,
        labels: &[impl AsRef<str>],
        templates: &[impl AsRef<str>],
    ) -> Result<ZeroShot> {
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let templates: Vec<&str> = templates.iter().map(AsRef::as_ref).collect();
        if labels.is_empty() || templates.is_empty() {
            let what = if labels.is_empty() { "labels" } else { "templates" };
            return Err(Error::argument(what, format!("no {what} were given")));
        }
        if let Some(template) = templates.iter().find(|template| !template.contains("{}")) {
            return Err(Error::argument("templates", format!("{template:?} has no {{}} for the label")));
        }
        let embedder = TextEmbedder::new(session)?.normalized(true);
        let (scale, bias) = embedder.logit_scale_and_bias()?;
        let texts: Vec<String> =
            labels.iter().flat_map(|label| templates.iter().map(move |text| text.replace("{}", label))).collect();
        let each = embedder.embed_batch(&texts)?;
        let mut vectors = Vec::with_capacity(labels.len() * embedder.dim());
        for of_label in each.chunks_exact(templates.len()) {
            vectors.extend(mean(of_label));
        }
        let scores = if embedder.is_sigmoid() { Scores::Sigmoid } else { Scores::Softmax };
        let count = labels.len();
        let labels = Labels::named(labels).scored(scores);
        Ok(ZeroShot { embedder, labels, count, vectors: vectors.into(), scale, bias, top_k: 5 })
    }

    /// How many labels are given for an image; 5 without this. 0 counts as 1, and all labels are given where there are fewer.
    #[must_use]
    pub fn top_k(self, top_k: usize) -> ZeroShot {
        ZeroShot { top_k: top_k.max(1), ..self }
    }

    /// The labels that fit an image best, best first.
    ///
    /// # Errors
    /// [`Error::Image`] if the image can't be brought to the model's size; [`Error::NotFinite`] for a result that is no number;
    /// errors of the device.
    pub fn classify(&self, image: &Image) -> Result<Vec<Prediction>> {
        self.classify_batch(std::slice::from_ref(image))?.swap_remove(0)
    }

    /// The same of many images, in batches that keep the device busy. An image without a result fails alone.
    ///
    /// # Errors
    /// [`Error::Argument`] without images; errors of the device.
    pub fn classify_batch(&self, images: &[Image]) -> Result<Each<Vec<Prediction>>> {
        Ok(self.scored(self.session().embed_each(images)?, self.top_k))
    }

    /// As [`ZeroShot::classify_batch`], without blocking.
    ///
    /// # Errors
    /// As [`ZeroShot::classify_batch`].
    pub async fn classify_async(&self, images: &[Image]) -> Result<Each<Vec<Prediction>>> {
        Ok(self.scored(self.session().embed_async(images).await?, self.top_k))
    }

    /// The logit of each label, in their order, for an image's vector as [`Session::embed`] gives it.
    #[must_use]
    pub fn logits(&self, image: &[f32]) -> Vec<f32> {
        let mut image = image.to_vec();
        normalize(&mut image);
        let dot = |label: &[f32]| label.iter().zip(&image).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let logit = |label| (dot(label) * f64::from(self.scale) + f64::from(self.bias)) as f32;
        self.vectors.chunks_exact(self.embedder.dim()).map(logit).collect()
    }

    fn scored(&self, vectors: Each<Vec<f32>>, top_k: usize) -> Each<Vec<Prediction>> {
        let of_image = |vector: Vec<f32>| self.labels.top_k(&self.logits(&vector), top_k);
        vectors.into_iter().map(|vector| vector.map(of_image)).collect()
    }

    /// For this crate's own command line.
    #[doc(hidden)]
    pub fn classify_pixels(&self, pixels: &[Pixels], top_k: usize) -> Result<Each<Vec<Prediction>>> {
        Ok(self.scored(self.session().embed_pixels(pixels)?, top_k))
    }

    /// How many labels there are.
    #[must_use]
    pub fn num_labels(&self) -> usize {
        self.count
    }

    /// A label by its index.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<&str> {
        self.labels.get(index)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.embedder.model()
    }

    /// The session that the classifier uses.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.embedder.session()
    }
}

/// The mean of vectors, scaled to length 1.
fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vec![0.0f32; vectors[0].len()];
    for vector in vectors {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / vectors.len() as f32);
    }
    normalize(&mut mean);
    mean
}
