//! What phones write: HEIC and AVIF, two codecs in the same boxes. Each is a feature of its own.

// Each of the two codecs alone uses a part of what is here.
#![cfg_attr(not(all(feature = "heic", feature = "avif")), allow(dead_code))]

#[cfg(any(feature = "heic", feature = "avif"))]
use self::container::Container;
use super::decoded::{Decoded, Refusal};

#[cfg(feature = "avif")]
mod av1;
#[cfg(feature = "avif")]
mod avif;
#[cfg(any(feature = "heic", feature = "avif"))]
mod colours;
#[cfg(any(feature = "heic", feature = "avif"))]
mod container;
#[cfg(feature = "heic")]
mod heic;
#[cfg(any(feature = "heic", feature = "avif"))]
mod planes;
#[cfg(feature = "avif")]
mod yuv;

/// The codec of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Codec {
    /// HEVC, which Apple's and other phones write.
    Heic,
    /// AV1.
    Avif,
}

/// Which codec a file's first box names, if it is such a file.
pub fn codec(bytes: &[u8]) -> Option<Codec> {
    if bytes.get(4..8)? != b"ftyp" {
        return None;
    }
    let size = u32::from_be_bytes(bytes[..4].try_into().ok()?) as usize;
    let (brands, _) = bytes.get(8..bytes.len().min(size))?.as_chunks::<4>();
    // The second word is the version of the first brand. Brands that both codecs share decide nothing.
    let mut brands = brands.iter().enumerate().filter(|&(index, _)| index != 1);
    brands.find_map(|(_, brand)| match brand {
        b"avif" | b"avis" => Some(Codec::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some(Codec::Heic),
        _ => None,
    })
}

/// Decodes the picture that the file shows first.
#[cfg_attr(not(any(feature = "heic", feature = "avif")), expect(unused_variables))]
pub fn decode(bytes: &[u8], codec: Codec) -> Result<Decoded, Refusal> {
    match codec {
        #[cfg(feature = "heic")]
        Codec::Heic => heic::decode(&Container::read(bytes)?),
        #[cfg(not(feature = "heic"))]
        Codec::Heic => Err("a HEIC picture; this program was built without the feature `heic`".into()),
        #[cfg(feature = "avif")]
        Codec::Avif => avif::decode(&Container::read(bytes)?),
        #[cfg(not(feature = "avif"))]
        Codec::Avif => Err("an AVIF picture; this program was built without the feature `avif`".into()),
    }
}

/// Width and height that a file gives its picture, from which the memory can be estimated that it will take.
#[cfg(any(feature = "heic", feature = "avif"))]
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let container = Container::read(bytes).ok()?;
    let (width, height) = container.size(container.shown()).ok()?;
    Some((width as u64, height as u64))
}

/// Nothing, because no file of these kinds can be decoded.
#[cfg(not(any(feature = "heic", feature = "avif")))]
pub fn size(_: &[u8]) -> Option<(u64, u64)> {
    None
}

#[cfg(all(test, feature = "heic", feature = "avif"))]
mod tests {
    use super::*;

    const HEIC: &[u8] = include_bytes!("../../../../tests/goldens/photos/heic-grid.heic");
    const AVIF: &[u8] = include_bytes!("../../../../tests/goldens/photos/avif-odd.avif");

    fn patched(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = file.windows(from.len()).position(|found| found == from).expect("the bytes to replace");
        [&file[..at], to, &file[at + to.len()..]].concat()
    }

    fn reason(file: &[u8], codec: Codec) -> String {
        decode(file, codec).err().expect("refused").reason
    }

    #[test]
    fn files_are_known_by_their_brands() {
        assert_eq!((codec(HEIC), codec(AVIF)), (Some(Codec::Heic), Some(Codec::Avif)));
        assert_eq!(codec(b"\0\0\0\x10ftypmif1avif"), None, "the version is no brand");
        assert_eq!(codec(b"\0\0\0\x14ftypmif1\0\0\0\0avif"), Some(Codec::Avif));
        assert_eq!(codec(b"\0\0\0\x10ftypmif1\0\0\0\0avif"), None, "beyond the box");
        assert_eq!(codec(b"\0\0\0\x14ftypisom\0\0\0\0mp42"), None);
        assert_eq!(codec(b"\0\0\0\x08ftyp"), None);
        assert_eq!(codec(b"\0\0\0\0ftyp"), None);
    }

    #[test]
    fn sizes_are_read_without_decoding() {
        assert_eq!((size(HEIC), size(AVIF)), (Some((70, 66)), Some((37, 29))));
        assert_eq!(size(&HEIC[..200]), None);
    }

    #[test]
    fn rotation_is_applied_in_heic_and_becomes_the_orientation_in_avif() {
        let heic = decode(HEIC, Codec::Heic).unwrap();
        assert_eq!((heic.width, heic.height, heic.orientation), (66, 70, None));
        let avif = decode(AVIF, Codec::Avif).unwrap();
        assert_eq!((avif.width, avif.height, avif.orientation), (37, 29, Some(7)));
    }

    #[test]
    fn what_a_file_says_of_its_sizes_must_agree() {
        let size =
            |width: u32, height: u32| [b"ispe\0\0\0\0", &width.to_be_bytes()[..], &height.to_be_bytes()].concat();
        let larger = patched(HEIC, &size(70, 66), &size(71, 66));
        assert_eq!(reason(&larger, Codec::Heic), "the sizes of its grid, its tiles and itself don't fit");
        let bomb = patched(AVIF, &size(37, 29), &size(65535, 65535));
        assert!(reason(&bomb, Codec::Avif).contains("decompression bomb"));
        let larger = patched(AVIF, &size(37, 29), &size(38, 29));
        assert_eq!(reason(&larger, Codec::Avif), "its picture has not the size that the file says");
        let smaller = patched(AVIF, &size(37, 29), &size(36, 29));
        assert_eq!(reason(&smaller, Codec::Avif), "its AV1 stream is damaged or cut off");
        let tile = patched(HEIC, &size(64, 64), &size(0, 64));
        assert_eq!(reason(&tile, Codec::Heic), "it has no pixels");
    }

    #[test]
    fn files_that_are_cut_off_are_refused() {
        // The HEIC file ends with 36 bytes of EXIF data, which are not needed.
        for (file, codec) in [(&HEIC[..HEIC.len() - 36], Codec::Heic), (AVIF, Codec::Avif)] {
            assert!(decode(file, codec).is_ok());
            for length in 12..file.len() {
                assert!(decode(&file[..length], codec).is_err(), "{codec:?} of {length} bytes");
            }
        }
    }

    #[test]
    fn pictures_of_other_kinds_are_named() {
        let overlay = patched(HEIC, b"\0\0grid\0", b"\0\0iovl\0");
        assert_eq!(reason(&overlay, Codec::Heic), "its picture is of the kind 'iovl', not HEVC");
        let jpeg = patched(AVIF, b"\0\0av01", b"\0\0jpeg");
        assert_eq!(reason(&jpeg, Codec::Avif), "its picture is of the kind 'jpeg', not AV1");
    }
}
