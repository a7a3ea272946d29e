//! What a model sees of an image.

use crate::error::Result;
use crate::preprocess::{Filter, Image, Pixels, Resize, Resizer, resize};
use crate::session::Model;

/// The part of an image that the model is given, with so many times as many pixels that the shorter side has `side` or more. A
/// map's patches divide this picture evenly.
///
/// # Errors
/// [`Error::Image`](crate::Error::Image) if the image can't be brought to the model's size.
pub fn seen(model: &Model, image: &Image, side: usize) -> Result<Image> {
    let transform = &model.0.transform;
    let Pixels { size: (h, w), data } = transform.apply(image)?;
    let times = side.div_ceil(h.min(w).max(1));
    let small = Image::from_rgb(w, h, data)?;
    if times <= 1 {
        return Ok(small);
    }
    if transform.resize == Resize::None {
        // Cut out at its own size, so there are no more pixels to be had.
        return resize(&small, times * w, times * h, Filter::Bicubic, Resizer::Pillow);
    }
    let Pixels { size: (h, w), data } = transform.clone().with_size((times * h, times * w)).apply(image)?;
    Image::from_rgb(w, h, data)
}
