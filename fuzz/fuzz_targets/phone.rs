#![no_main]
//! HEIC and AVIF pictures. A panic within a codec is found here, although `Image::decode` would turn it into an error.

use libfuzzer_sys::fuzz_target;
use vit_gpu::{Image, Orient};

fuzz_target!(|bytes: &[u8]| {
    if bytes.get(4..8) == Some(b"ftyp")
        && let Ok(image) = Image::decode(bytes, "fuzz", Orient::Exif)
    {
        assert_eq!(image.data().len(), 3 * image.width() * image.height());
    }
});
