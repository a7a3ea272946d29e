//! Resize, crop and normalisation as data, and their application.

use serde::{Deserialize, Serialize};

use super::{Filter, Image, Resizer, resize};
use crate::error::{Error, Result};

/// How the size after resizing depends on the image's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Not resized.
    None,
    /// Exactly this height and width, whatever the aspect.
    Exact(usize, usize),
    /// The shorter side becomes this, the longer `int(n·long/short)` (torchvision, timm, Hugging Face).
    Shortest(usize),
    /// timm's `ResizeKeepRatio` to height and width: the smaller of the two ratios decides, or the larger (`longest`).
    KeepRatio(usize, usize, Longest),
}

/// Which ratio `KeepRatio` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Longest {
    /// The image covers the target.
    No,
    /// The image fits inside the target (timm's `crop_mode: border`).
    Yes,
}

/// Where a centre crop is placed when it can't be exactly in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropRule {
    /// Starts at `round((size − crop)/2)`, half to even. An image that is too small gets the smaller half of the padding first (torchvision, timm).
    Torchvision,
    /// Starts at `floor((size − crop)/2)`. An image that is too small gets the larger half of the padding first (Hugging Face on Pillow images).
    HuggingFace,
    /// Starts at `floor((size − crop)/2)`. An image that is too small gets the smaller half of the padding first (Hugging Face on tensors).
    HuggingFaceFast,
}

/// A centre crop, zero-padded (or `fill`ed) where the image is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Height and width.
    pub size: (usize, usize),
    /// Where the crop is placed.
    pub rule: CropRule,
    /// Colour of padding.
    pub fill: [u8; 3],
}

/// How a byte becomes a normalised float. The variants differ only in the last bit; each library's is reproduced exactly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// f32 `x/255`, then `(x − mean)/std` (torchvision, timm).
    Torchvision,
    /// f64 `x·factor` rounded to f32, then `(x − mean)/std` (Hugging Face); either step may be left out.
    HuggingFace {
        /// `rescale_factor`, `None` without `do_rescale`.
        rescale: Option<f64>,
        /// `do_normalize`.
        normalize: bool,
    },
    /// f32 `(x − mean/factor)/(std/factor)` where both steps are done (Hugging Face on tensors).
    HuggingFaceFast {
        /// `rescale_factor`, `None` without `do_rescale`.
        rescale: Option<f64>,
        /// `do_normalize`.
        normalize: bool,
    },
}

/// The preprocessing of a model: how an image becomes the pixels that the model is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// How the image is resized; the first step.
    pub resize: Resize,
    /// The filter of the resize.
    pub filter: Filter,
    /// Whose arithmetic the resize follows.
    pub resizer: Resizer,
    /// The crop after resizing, if any; the second step.
    pub crop: Option<Crop>,
    /// Channel means.
    pub mean: [f32; 3],
    /// Channel standard deviations.
    pub std: [f32; 3],
    /// How rescaling, mean and standard deviation are applied.
    pub arithmetic: Arithmetic,
}

/// A preprocessed image: bytes `[H, W, 3]`, still to be normalised by [`Transform::table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Height and width.
    pub size: (usize, usize),
    /// Row by row, three bytes a pixel.
    pub data: Vec<u8>,
}

/// ImageNet's channel means.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's channel standard deviations.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The most pixels that an image is resized or padded to.
const MOST_PIXELS: usize = 1 << 28;

impl Transform {
    /// Resizes and crops.
    ///
    /// # Errors
    /// [`Error::Image`] if the image's aspect leaves a side of 0, or asks for more pixels than an image may have, or if the
    /// crop does.
    pub fn apply(&self, image: &Image) -> Result<Pixels> {
        self.check_size().map_err(|reason| Error::image("image", reason))?;
        let (h, w) = (image.height(), image.width());
        let (to_h, to_w) = match self.resize {
            Resize::None => (h, w),
            Resize::Exact(h, w) => (h, w),
            Resize::Shortest(n) => {
                if h < w {
                    (n, n.saturating_mul(w) / h)
                } else {
                    (n.saturating_mul(h) / w, n)
                }
            }
            Resize::KeepRatio(target_h, target_w, longest) => {
                let (rh, rw) = (h as f64 / target_h as f64, w as f64 / target_w as f64);
                let ratio = match longest {
                    Longest::No => rh.min(rw),
                    Longest::Yes => rh.max(rw),
                };
                let round = |x: usize| (x as f64 / ratio).round_ties_even() as usize;
                (round(h), round(w))
            }
        };
        // A strip of 1 by 60,000 pixels would be resized to millions of columns, of which the crop keeps only a few.
        if to_h == 0 || to_w == 0 || to_h.saturating_mul(to_w) > MOST_PIXELS {
            return Err(Error::image(
                "image",
                format!("its sides, {w}x{h}, are too unequal to resize to {to_w}x{to_h}"),
            ));
        }
        let resized = resize(image, to_w, to_h, self.filter, self.resizer)?;
        Ok(match self.crop {
            None => Pixels { size: (to_h, to_w), data: resized.data().to_vec() },
            Some(crop) => crop.apply(&resized),
        })
    }

    /// Height and width of the result of [`Transform::apply`]; `None` if they depend on the image.
    #[must_use]
    pub fn output_size(&self) -> Option<(usize, usize)> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some(crop.size),
            (None, Resize::Exact(h, w)) => Some((h, w)),
            _ => None,
        }
    }

    /// The same steps for a result of another height and width. This changes the crop, or the resize if there is no crop. A
    /// resize before a crop keeps its ratio to the crop's size.
    #[must_use]
    pub fn with_size(self, size: (usize, usize)) -> Transform {
        let Some(crop) = self.crop else { return Transform { resize: Resize::Exact(size.0, size.1), ..self } };
        let scaled = |n: usize, from: usize, to: usize| (n as f64 * to as f64 / from.max(1) as f64).round() as usize;
        let (h, w) = crop.size;
        let resize = match self.resize {
            Resize::None => Resize::None,
            Resize::Shortest(n) => Resize::Shortest(scaled(n, h.min(w), size.0.min(size.1))),
            Resize::Exact(to_h, to_w) => Resize::Exact(scaled(to_h, h, size.0), scaled(to_w, w, size.1)),
            Resize::KeepRatio(to_h, to_w, longest) => {
                Resize::KeepRatio(scaled(to_h, h, size.0), scaled(to_w, w, size.1), longest)
            }
        };
        Transform { resize, crop: Some(Crop { size, ..crop }), ..self }
    }

    /// An error if the result would have no pixels, or more than an image may have.
    fn check_size(&self) -> Result<(), String> {
        match self.output_size() {
            Some((h, w)) if !(1..=MOST_PIXELS).contains(&h.saturating_mul(w)) => {
                Err(format!("preprocessing gives images of {h}x{w}"))
            }
            _ => Ok(()),
        }
    }

    /// The same, unless it gives a size that no image has, or its normalisation makes infinities or NaNs of pixels, as a
    /// standard deviation of 0 does.
    pub(crate) fn checked(self) -> Result<Transform, String> {
        self.check_size()?;
        if self.table().iter().all(|value| value.is_finite()) {
            return Ok(self);
        }
        let Transform { mean, std, arithmetic, .. } = self;
        Err(format!("preprocessing makes pixels that are not finite: mean {mean:?}, std {std:?}, {arithmetic:?}"))
    }

    /// The normalised float of every byte value for each channel, `[3, 256]`, computed with the arithmetic of the model's library.
    #[must_use]
    pub fn table(&self) -> Vec<f32> {
        (0..3)
            .flat_map(|c| (0..=255u8).map(move |byte| (c, byte)))
            .map(|(c, byte)| {
                let (mean, std) = (self.mean[c], self.std[c]);
                match self.arithmetic {
                    Arithmetic::Torchvision => (f32::from(byte) / 255.0 - mean) / std,
                    Arithmetic::HuggingFace { rescale, normalize } => {
                        let x = rescale.map_or(f32::from(byte), |factor| (f64::from(byte) * factor) as f32);
                        if normalize { (x - mean) / std } else { x }
                    }
                    Arithmetic::HuggingFaceFast { rescale, normalize } => {
                        let x = f32::from(byte);
                        match (normalize, rescale) {
                            (true, Some(factor)) => {
                                let by = (1.0 / factor) as f32;
                                (x - mean * by) / (std * by)
                            }
                            (true, None) => (x - mean) / std,
                            (false, Some(factor)) => x * factor as f32,
                            (false, None) => x,
                        }
                    }
                }
            })
            .collect()
    }
}

impl Pixels {
    /// The normalised image as floats `[3, H, W]`, as it would be passed to PyTorch. `table` is [`Transform::table`].
    #[must_use]
    pub fn planes(&self, table: &[f32]) -> Vec<f32> {
        let pixels = self.data.as_chunks::<3>().0;
        (0..3).flat_map(|c| pixels.iter().map(move |pixel| table[c * 256 + usize::from(pixel[c])])).collect()
    }
}

impl Crop {
    fn apply(&self, image: &Image) -> Pixels {
        let (crop_h, crop_w) = self.size;
        let (top, left) = (self.start(image.height(), crop_h), self.start(image.width(), crop_w));
        let mut data = Vec::with_capacity(3 * crop_h * crop_w);
        let source = image.data().as_chunks::<3>().0;
        for y in 0..crop_h as isize {
            for x in 0..crop_w as isize {
                let (y, x) = (y + top, x + left);
                let inside = y >= 0 && x >= 0 && y < image.height() as isize && x < image.width() as isize;
                data.extend(if inside { source[y as usize * image.width() + x as usize] } else { self.fill });
            }
        }
        Pixels { size: self.size, data }
    }

    /// First row or column of the crop in the image; negative where padding comes first.
    fn start(&self, size: usize, crop: usize) -> isize {
        let spare = size as isize - crop as isize;
        match self.rule {
            // The image is smaller than the crop, so padding comes first: floor((crop − size)/2) rows of it.
            CropRule::Torchvision | CropRule::HuggingFaceFast if spare < 0 => -((-spare) / 2),
            CropRule::Torchvision => (spare as f64 / 2.0).round_ties_even() as isize,
            CropRule::HuggingFace if spare < 0 => -((1 - spare) / 2),
            CropRule::HuggingFace | CropRule::HuggingFaceFast => spare / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_start_where_each_library_starts_them() {
        let crop = |rule| Crop { size: (0, 0), rule, fill: [0; 3] };
        for (spare, torchvision, hugging_face) in
            [(117, 58, 58), (119, 60, 59), (31, 16, 15), (33, 16, 16), (0, 0, 0), (-3, -1, -2)]
        {
            let size = 200 + spare;
            assert_eq!(crop(CropRule::Torchvision).start(size as usize, 200), torchvision, "{spare}");
            assert_eq!(crop(CropRule::HuggingFace).start(size as usize, 200), hugging_face, "{spare}");
        }
    }

    #[test]
    fn a_strip_that_would_explode_is_refused() {
        let strip = Image::from_rgb(60_000, 1, vec![0; 180_000]).unwrap();
        let transform = Transform {
            resize: Resize::Shortest(256),
            filter: Filter::Bilinear,
            resizer: Resizer::Pillow,
            crop: None,
            mean: [0.5; 3],
            std: [0.5; 3],
            arithmetic: Arithmetic::Torchvision,
        };
        assert!(transform.apply(&strip).unwrap_err().is_input());
        assert!(transform.clone().checked().is_ok());
        assert!(Transform { std: [0.5, 0.0, 0.5], ..transform.clone() }.checked().unwrap_err().contains("not finite"));
        assert!(Transform { mean: [f32::NAN; 3], ..transform.clone() }.checked().is_err());
        assert_eq!(transform.output_size(), None);
    }
}
