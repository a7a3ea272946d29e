//! Turns an image file into the input that the model was trained on: decode, resize and crop like Pillow, normalise like the model's library.

#[cfg(feature = "decode")]
mod decode;
mod image;
mod resize;
mod transform;

#[cfg(feature = "decode")]
pub use decode::{decode_truncated, is_decoding, size};
pub use image::{Image, Orient};
pub use resize::{Filter, Resizer, resize};
pub use transform::{Arithmetic, Crop, CropRule, IMAGENET_MEAN, IMAGENET_STD, Longest, Pixels, Resize, Transform};
