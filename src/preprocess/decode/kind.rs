//! What a file is, by its content alone.

use super::{bmp, ico, jp2, pcx, png, pnm, tga, tiff, xbm};

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Windows or OS/2 bitmap, also without a file's header.
    Bmp,
    /// DirectDraw surface.
    Dds,
    /// GIF.
    Gif,
    /// Icon of macOS.
    Icns,
    /// Icon or cursor of Windows.
    Ico,
    /// JPEG.
    Jpeg,
    /// JPEG 2000.
    Jpeg2000,
    /// PCX.
    Pcx,
    /// PNG.
    Png,
    /// PBM, PGM, PPM or PFM.
    Pnm,
    /// Photoshop document.
    Psd,
    /// QOI.
    Qoi,
    /// SGI image.
    Sgi,
    /// Targa.
    Tga,
    /// TIFF.
    Tiff,
    /// WebP.
    WebP,
    /// XBM.
    Xbm,
}

/// The format of a file, if it is one that is read. Targa has no magic number and comes last.
pub fn of(bytes: &[u8]) -> Option<Kind> {
    Some(match bytes {
        [0xff, 0xd8, 0xff, ..] => Kind::Jpeg,
        [b'B', b'M', ..] if bmp::size(bytes).is_some() || bytes.len() < 26 => Kind::Bmp,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Kind::Gif,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::WebP,
        [b'8', b'B', b'P', b'S', ..] => Kind::Psd,
        [b'D', b'D', b'S', b' ', ..] => Kind::Dds,
        [b'q', b'o', b'i', b'f', ..] => Kind::Qoi,
        [b'i', b'c', b'n', b's', ..] => Kind::Icns,
        [1, 0xda, 0 | 1, 1 | 2, 0, 1..=3, ..] => Kind::Sgi,
        _ if tiff::is_tiff(bytes) => Kind::Tiff,
        _ if png::is_png(bytes) => Kind::Png,
        _ if jp2::is_jp2(bytes) => Kind::Jpeg2000,
        _ if pnm::is_pnm(bytes) => Kind::Pnm,
        _ if ico::is_icon(bytes) && ico::size(bytes).is_some() => Kind::Ico,
        _ if bmp::is_dib(bytes) && bmp::size(bytes).is_some() => Kind::Bmp,
        _ if pcx::is_pcx(bytes) => Kind::Pcx,
        _ if xbm::is_xbm(bytes) => Kind::Xbm,
        _ if unread(bytes).is_some() => return None,
        _ if tga::size(bytes).is_some() => Kind::Tga,
        _ => return None,
    })
}

/// The name of a format that is known but not read, with its article.
pub fn unread(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let has = |at: usize, what: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(what));
    Some(match bytes {
        [0xff, 0x0a, ..] => "a JPEG XL file",
        _ if has(4, b"JXL \r\n\x87\n") => "a JPEG XL file",
        _ if has(4, b"ftypavif") || has(4, b"ftypavis") => "an AVIF file",
        _ if has(4, b"ftyphei") || has(4, b"ftyphev") || has(4, b"ftypmif1") || has(4, b"ftypmsf1") => "a HEIC file",
        _ if has(4, b"ftypcrx") => "a raw photo (CR3)",
        _ if has(4, b"ftyp") => "a video or another MP4 file",
        [b'P', b'7', b'\n', ..] => "a PAM file",
        [b'%', b'P', b'D', b'F', ..] => "a PDF",
        [b'%', b'!', ..] | [0xc5, 0xd0, 0xd3, 0xc6, ..] => "a PostScript file",
        [0x76, 0x2f, 0x31, 0x01, ..] => "an OpenEXR file",
        _ if has(0, b"#?RADIANCE") || has(0, b"#?RGBE") => "a Radiance HDR file",
        _ if has(0, b"FUJIFILMCCD-RAW") => "a raw photo (RAF)",
        _ if has(0, b"IIU\0") => "a raw photo (RW2)",
        _ if has(0, b"IIRO") || has(0, b"IIRS") || has(0, b"MMOR") => "a raw photo (ORF)",
        _ if has(0, b"II\xbc") => "a JPEG XR file",
        _ if has(0, b"BPG\xfb") => "a BPG file",
        _ if has(0, b"gimp xcf") => "an XCF file",
        _ if has(0, b"FLIF") => "a FLIF file",
        _ if has(0, b"farbfeld") => "a farbfeld file",
        _ if has(0, b"SIMPLE  =") => "a FITS file",
        _ if has(128, b"DICM") => "a DICOM file",
        _ if has(0, b"/* XPM */") => "an XPM file",
        _ if has(0, b"\xd7\xcd\xc6\x9a") || has(40, b" EMF") => "a Windows metafile",
        _ if has(0, b"Y\xa6j\x95") => "a Sun raster file",
        _ if text.starts_with(b"<svg") || is_svg(text) => "an SVG drawing",
        _ if text.starts_with(b"<!DOCTYPE html") || text.starts_with(b"<html") => "a web page",
        _ if has(0, b"PK\x03\x04") => "a ZIP archive",
        _ if has(0, b"version https://git-lfs") => "a Git LFS pointer, not the file itself",
        _ => return None,
    })
}

/// Whether an XML file's first kilobyte opens a drawing.
fn is_svg(text: &[u8]) -> bool {
    let start = &text[..text.len().min(1024)];
    (start.starts_with(b"<?xml") || start.starts_with(b"<!")) && start.windows(4).any(|window| window == b"<svg")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn magic_numbers_are_known() {
        assert_eq!(of(b"P6 1 1 255 abc"), Some(Kind::Pnm));
        assert_eq!(of(b"Plain text"), None);
        assert_eq!(of(b"\x01\xda\x01\x01\0\x03"), Some(Kind::Sgi));
        assert_eq!(unread(b"\0\0\0\x18ftypheic"), Some("a HEIC file"));
        assert_eq!(unread(b"<?xml version='1.0'?>\n<svg/>"), Some("an SVG drawing"));
        assert_eq!((of(b""), unread(b"")), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (of(&bytes), unread(&bytes));
        }
    }
}
