//! From a file to what the model was trained on: decode, resize and crop as Pillow does, normalise as the family does.

#[cfg(feature = "decode")]
mod decode;
mod image;
mod resize;
mod transform;

pub use image::{Image, Orient};
pub use resize::{Filter, Resizer, resize};
pub use transform::{Arithmetic, Crop, CropRule, IMAGENET_MEAN, IMAGENET_STD, Longest, Pixels, Resize, Transform};
