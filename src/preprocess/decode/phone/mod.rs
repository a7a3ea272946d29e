//! What phones write: HEIC and AVIF, two codecs in the same boxes. Each is a feature of its own.

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
pub fn decode(bytes: &[u8], codec: Codec) -> Result<Decoded, Refusal> {
    match codec {
        #[cfg(feature = "heic")]
        Codec::Heic => heic::decode(&Container::read(bytes)?),
        #[cfg(feature = "avif")]
        Codec::Avif => avif::decode(&Container::read(bytes)?),
        #[allow(unreachable_patterns)]
        _ => {
            let (article, name, feature) = match codec {
                Codec::Heic => ("a", "HEIC", "heic"),
                Codec::Avif => ("an", "AVIF", "avif"),
            };
            Err(format!("{article} {name} picture; this program was built without the feature `{feature}`").into())
        }
    }
}

/// Width and height of the largest picture that is decoded in one piece, from which the memory can be estimated that a file
/// will take.
#[cfg(any(feature = "heic", feature = "avif"))]
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let container = Container::read(bytes).ok()?;
    let of = |item| container.size(item).ok().map(|(width, height)| (width as u64, height as u64));
    let tile = container.references(container.primary, b"dimg").first().and_then(|&tile| of(tile));
    let whole = of(container.primary);
    whole.into_iter().chain(tile).max_by_key(|&(width, height)| width.saturating_mul(height))
}

/// No file of these kinds can be decoded.
#[cfg(not(any(feature = "heic", feature = "avif")))]
pub fn size(_: &[u8]) -> Option<(u64, u64)> {
    None
}
