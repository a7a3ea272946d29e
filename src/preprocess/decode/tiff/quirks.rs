//! What Pillow makes of files whose samples it reads otherwise than their tags say, or not at all.

use super::codec::Codec;
use super::directory::{Directory, tag};
use super::kind::{Colour, Kind, Number};
use super::layout::Layout;
use super::predictor::Predictor;
use super::ycbcr::Subsampling;
use crate::preprocess::decode::decoded::Refusal;

/// The kind of pixels that Pillow takes for a file's, if it reads the file and does not garble it.
pub fn kind_as_read(kind: Kind, directory: &Directory, layout: &Layout, codec: Codec) -> Result<Kind, Refusal> {
    let stored = codec == Codec::Stored;
    let refused = |what: &str| Err(format!("it is a TIFF with {what}, which can't be decoded").into());
    // Pillow expects the bytes of these in the file's order, but libtiff turns them.
    if let Colour::Clipped(Number::Signed | Number::Float) = kind.colour
        && !stored
        && !directory.little
    {
        return refused("compressed signed or floating-point samples in big-endian order");
    }
    match codec {
        Codec::Fax(_) if (kind.bits, kind.samples) != (1, 1) => return refused("fax compression of more than one bit"),
        Codec::Jpeg if kind.samples == 2 && !layout.planar => return refused("JPEG compression of grey and alpha"),
        Codec::Jpeg if kind.bits != 8 => {
            return refused("JPEG compression of samples that do not have eight bits");
        }
        Codec::OldJpeg if kind.colour != Colour::YCbCr => {
            return refused("JPEG compression of the old kind, but no colours");
        }
        _ => {}
    }
    let is_ycbcr = directory.number(tag::PHOTOMETRIC) == Some(6);
    if is_ycbcr && kind.samples == 1 && !stored {
        return refused("compressed YCbCr pixels of a single sample");
    }
    if is_ycbcr && stored && directory.numbers(tag::YCBCR_SUBSAMPLING).is_some_and(|n| n.first(2) != [1, 1]) {
        return refused("subsampled colours and no compression");
    }
    let reversed = directory.number(tag::FILL_ORDER) == Some(2);
    let is_missing = matches!((kind.colour, kind.bits), (Colour::Palette, 1 | 2 | 4) | (Colour::InvertedGrey, 8));
    if reversed && stored && is_missing {
        return refused("such pixels, whose bytes have their bits in reverse order");
    }
    let planes = if layout.planar { kind.bands() } else { 1 };
    if stored && !layout.has_planes(planes) {
        return refused("more or fewer strips or tiles than the picture needs");
    }
    let in_planes = match (layout.planar, stored) {
        (false, _) => Some(kind),
        (true, true) => stored_planes(kind, directory.little),
        (true, false) => compressed_planes(kind),
    };
    in_planes.map_or_else(|| refused("each sample of such pixels in a plane of its own"), Ok)
}

/// Planes that are stored as they are: Pillow takes the first letters of its name for the kind, and forgets what else the name says.
fn stored_planes(kind: Kind, little: bool) -> Option<Kind> {
    let whole_bytes = kind.bits == 8 && kind.samples == kind.bands();
    match kind.colour {
        // Inversion is forgotten.
        Colour::Grey | Colour::InvertedGrey if matches!(kind.bits, 1 | 8) && kind.samples == 1 => {
            Some(Kind { colour: Colour::Grey, ..kind })
        }
        Colour::Palette if whole_bytes && kind.samples == 1 => Some(kind),
        Colour::Clipped(_) if kind.bits == 32 && little => Some(kind),
        Colour::Rgb | Colour::Cmyk | Colour::Lab if whole_bytes => Some(kind),
        _ => None,
    }
}

/// Compressed planes: Pillow reads as many as its mode has, and takes a fourth sample of which nothing is known for premultiplied alpha.
fn compressed_planes(kind: Kind) -> Option<Kind> {
    if kind.samples != kind.bands() {
        return None;
    }
    let unknown_alpha = kind.colour == Colour::Rgb && kind.alpha && !kind.extra_stated;
    let colour = if unknown_alpha { Colour::Premultiplied } else { kind.colour };
    Some(Kind { colour, ..kind })
}

/// How many pixels share their chromas in a compressed YCbCr picture, unless each has its own or a codec takes care of it.
pub fn subsampling(
    kind: Kind,
    directory: &Directory,
    layout: &Layout,
    codec: Codec,
    predictor: Predictor,
) -> Result<Option<Subsampling>, Refusal> {
    if kind.colour != Colour::YCbCr || codec == Codec::Stored || (codec == Codec::Jpeg && !layout.planar) {
        return Ok(None);
    }
    let refused = || Refusal::from("it is a TIFF whose colours are subsampled in a way that can't be decoded");
    match Subsampling::read(directory) {
        Some(Subsampling { across: 1, down: 1 }) => Ok(None),
        // libtiff takes some of these rows for shorter than they are.
        Some(Subsampling { across: 4, down: 4 }) if layout.block_width.div_ceil(4) % 2 == 1 => Err(refused()),
        Some(subsampling) if !layout.planar && predictor == Predictor::None => Ok(Some(subsampling)),
        _ => Err(refused()),
    }
}
