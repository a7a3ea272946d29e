//! From a file to what the model was trained on: decode, resize and crop as Pillow does, normalise as the family does.

mod decode;
mod resize;
mod transform;

pub use decode::{Image, Orient};
pub use resize::{Filter, Resizer, resize};
pub use transform::{Arithmetic, Crop, CropRule, IMAGENET_MEAN, IMAGENET_STD, Longest, Pixels, Resize, Transform};
