//! Decodes image files into 8-bit RGB, converted as Pillow's `convert("RGB")` converts. What a file is, is found by its content.
//!
//! Alpha is dropped (the hidden colour stays), grey is replicated, palettes are expanded, CMYK is read as Adobe writes it,
//! animations give their first frame. 16-bit colours keep their high byte; 16-bit grey is cut off at 255, as Pillow does it. TIFF
//! is read in `tiff`, because no crate reads all that Pillow reads.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use self::decoded::{Decoded, Refusal};
use self::kind::Kind;
use super::image::{Image, Orient};
use crate::error::{Error, Result};

mod bmp;
mod bytes;
mod colours;
mod dds;
mod decoded;
mod gif;
mod icns;
mod ico;
mod jp2;
mod jpeg;
mod kind;
mod pcx;
mod phone;
mod png;
mod pnm;
mod psd;
mod qoi;
mod sgi;
mod tags;
mod tga;
mod tiff;
mod webp;
mod xbm;

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
        decode(bytes, name, orient, false)
    }
}

/// Decodes a file that may have been cut off, for example a broken download: what is missing stays grey or black, as with
/// Pillow's `LOAD_TRUNCATED_IMAGES`.
///
/// # Errors
/// [`Error::Image`] for an unknown format, a corrupt file, or one that ends before its pixels begin.
pub fn decode_truncated(bytes: &[u8], name: &str, orient: Orient) -> Result<Image> {
    decode(bytes, name, orient, true)
}

fn decode(bytes: &[u8], name: &str, orient: Orient, torn: bool) -> Result<Image> {
    let decoded = guarded(|| {
        let decoded = by_kind(bytes, torn)?;
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

/// Width and height of the picture that a file's bytes would be decoded to, before it is turned, read from its header; `None` if
/// it is not a file that can be decoded.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let read = || {
        if phone::codec(bytes).is_some() {
            return phone::size(bytes);
        }
        let read = match kind::of(bytes)? {
            Kind::Bmp => bmp::size,
            Kind::Dds => dds::size,
            Kind::Gif => gif::size,
            Kind::Icns => icns::size,
            Kind::Ico => ico::size,
            Kind::Jpeg => jpeg::size,
            Kind::Jpeg2000 => jp2::size,
            Kind::Pcx => pcx::size,
            Kind::Png => png::size,
            Kind::Pnm => pnm::size,
            Kind::Psd => psd::size,
            Kind::Qoi => qoi::size,
            Kind::Sgi => sgi::size,
            Kind::Tga => tga::size,
            Kind::Tiff => tiff::size,
            Kind::WebP => webp::size,
            Kind::Xbm => xbm::size,
        };
        read(bytes)
    };
    guarded(read).flatten()
}

/// Finds out what a file is, and decodes it.
fn by_kind(bytes: &[u8], torn: bool) -> Result<Decoded, Refusal> {
    const UNKNOWN: &str = "not an image in a supported format";
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    if let Some(codec) = phone::codec(bytes) {
        return phone::decode(bytes, codec);
    }
    let Some(kind) = kind::of(bytes) else {
        return Err(match kind::unread(bytes) {
            Some(name) => format!("it is {name}, which can't be decoded").into(),
            None => UNKNOWN.into(),
        });
    };
    match kind {
        Kind::Bmp => bmp::decode(bytes, torn),
        Kind::Dds => dds::decode(bytes, torn),
        Kind::Gif => gif::decode(bytes, torn),
        Kind::Icns => icns::decode(bytes, torn),
        Kind::Ico => ico::decode(bytes, torn),
        Kind::Jpeg => jpeg::decode(bytes, torn),
        Kind::Jpeg2000 => jp2::decode(bytes, torn),
        Kind::Pcx => pcx::decode(bytes, torn),
        Kind::Png => png::decode(bytes, torn),
        Kind::Pnm => pnm::decode(bytes, torn),
        Kind::Psd => psd::decode(bytes, torn),
        Kind::Qoi => qoi::decode(bytes, torn),
        Kind::Sgi => sgi::decode(bytes, torn),
        // Any bytes may look like a Targa's header.
        Kind::Tga => tga::decode(bytes, torn).unwrap_or_else(|| Err(UNKNOWN.into())),
        Kind::Tiff => tiff::decode(bytes),
        Kind::WebP => webp::decode(bytes),
        Kind::Xbm => xbm::decode(bytes, torn),
    }
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
