//! Decodes PNG, JPEG, WebP, GIF, BMP and TIFF, and with their features HEIC and AVIF, into 8-bit RGB, converted as Pillow's
//! `convert("RGB")` converts.
//!
//! Alpha is dropped (the hidden colour stays), grey is replicated, palettes are expanded, CMYK is read as Adobe writes it,
//! animations give their first frame. 16-bit samples keep their high byte; Pillow does the same for colour, but saturates
//! 16-bit grey to white, which is not reproduced.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use self::decoded::{Decoded, Refusal};
use super::image::{Image, Orient};
use crate::error::{Error, Result};

mod decoded;
mod general;
mod gif;
mod jpeg;
mod phone;
mod tags;

impl Image {
    /// Reads and decodes a file, EXIF orientation applied. Needs the feature `decode`.
    ///
    /// # Errors
    /// [`Error::Image`] names the file and what is wrong with it.
    pub fn open(path: impl AsRef<Path>) -> Result<Image> {
        Image::open_with(path, Orient::Exif)
    }

    /// Reads and decodes a file. Needs the feature `decode`.
    ///
    /// # Errors
    /// [`Error::Image`] names the file and what is wrong with it.
    pub fn open_with(path: impl AsRef<Path>, orient: Orient) -> Result<Image> {
        let name = path.as_ref().display().to_string();
        let bytes = std::fs::read(path).map_err(|error| Error::image_by(&name, error))?;
        Image::decode(&bytes, &name, orient)
    }

    /// Decodes a file's bytes; `name` is what errors call it. Needs the feature `decode`.
    ///
    /// # Errors
    /// [`Error::Image`] for an unknown format, a truncated or corrupt file, or more than 178,956,970 pixels.
    pub fn decode(bytes: &[u8], name: &str, orient: Orient) -> Result<Image> {
        let decoded = guarded(|| {
            let decoded = by_format(bytes)?;
            Ok(if orient == Orient::Exif { decoded.turned() } else { decoded })
        });
        let failed = || Err("its decoder failed: the file is damaged or of a kind that it can't read".into());
        match decoded.unwrap_or_else(failed) {
            Ok(Decoded { width, height, rgb, .. }) => {
                Image::from_rgb(width, height, rgb).map_err(|_| Error::image(name, "it has no pixels"))
            }
            Err(Refusal { reason, source: None }) => Err(Error::image(name, reason)),
            Err(Refusal { source: Some(source), .. }) => Err(Error::image_by(name, source)),
        }
    }
}

/// Finds out what a file is, and decodes it.
fn by_format(bytes: &[u8]) -> Result<Decoded, Refusal> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    if let Some(codec) = phone::codec(bytes) {
        return phone::decode(bytes, codec);
    }
    let known = image::guess_format(bytes).ok().filter(|format| format.reading_enabled());
    let format = known.ok_or("not an image in a supported format (PNG, JPEG, WebP, GIF, BMP, TIFF, HEIC or AVIF)")?;
    general::decode(bytes, format)
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a decoder, whose panics are caught: a program's panic hook need not print them.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// The result of a decoder, or `None` if it panicked: a broken file must cost no other.
fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    DECODING.set(true);
    let done = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(false);
    done.ok()
}
