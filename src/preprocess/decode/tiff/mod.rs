//! TIFF, as Pillow reads it: `kind.rs` has its table of what pixels are read, `codec.rs` the ways of compression.
//!
//! Pillow reads samples that are stored as they are by itself, and leaves compressed ones to libtiff. The two differ in details, and
//! this follows both. The picture is turned by its orientation at once, because Pillow does that when it loads a TIFF.

use self::blocks::Reader;
use self::codec::Codec;
use self::directory::{Directory, tag};
use self::kind::{Colour, Kind};
use self::layout::Layout;
use self::pixels::Unpacker;
use self::predictor::Predictor;
use self::ycbcr::Table;
use super::decoded::{Decoded, Refusal, check_size};
use super::tags::xmp_orientation;

mod blocks;
mod codec;
mod directory;
mod fax;
mod jpeg;
mod kind;
mod lab;
mod layout;
mod old_jpeg;
mod pixels;
mod predictor;
mod quirks;
mod ycbcr;

pub use directory::is_tiff;

/// Width and height of a TIFF's first picture, as stored.
pub fn size(bytes: &[u8]) -> Option<(u64, u64)> {
    let directory = Directory::read(bytes)?;
    Some((directory.number(tag::WIDTH)?, directory.number(tag::HEIGHT)?))
}

/// Decodes the first picture of a TIFF.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Refusal> {
    if bytes.starts_with(b"MM\0+") {
        return Err("it is a BigTIFF in big-endian order, which can't be decoded".into());
    }
    let Some(directory) = Directory::read(bytes) else {
        return Err("the TIFF is truncated: its directory is missing".into());
    };
    let (Some(width), Some(height)) = (directory.number(tag::WIDTH), directory.number(tag::HEIGHT)) else {
        return Err("it is a TIFF that states no size, or is truncated".into());
    };
    check_size(width, height)?;
    let (width, height) = (width as usize, height as usize);
    let number = |tag, otherwise| directory.number(tag).unwrap_or(otherwise);
    let codec = Codec::of(number(tag::COMPRESSION, 1), number(tag::GROUP_3_OPTIONS, 0))?;
    let kind = Kind::read(&directory, codec == Codec::OldJpeg)?;
    let layout = Layout::read(&directory, width, height, codec == Codec::Stored)?;
    let kind = quirks::kind_as_read(kind, &directory, &layout, codec)?;
    let predictor = if codec.has_predictor() { number(tag::PREDICTOR, 1) } else { 1 };
    let predictor = Predictor::of(predictor, &kind)?;
    let subsampling = quirks::subsampling(kind, &directory, &layout, codec, predictor)?;
    let reversed = number(tag::FILL_ORDER, 1) == 2 && codec != Codec::Jpeg;
    let reader = Reader { directory: &directory, layout: &layout, kind, codec, predictor, subsampling, reversed };
    let rgb = if codec == Codec::OldJpeg { old_jpeg::decode(&directory, &layout)? } else { read(&reader)? };
    let stated = directory.number(tag::ORIENTATION).map(|orientation| u8::try_from(orientation).unwrap_or(1));
    let orientation = stated.or_else(|| directory.bytes(tag::XMP).and_then(xmp_orientation));
    let turned = Decoded { width, height, rgb, orientation }.turned();
    Ok(Decoded { orientation: None, ..turned })
}

/// Reads all blocks, as RGB.
fn read(reader: &Reader) -> Result<Vec<u8>, Refusal> {
    let Reader { directory, layout, mut kind, codec, .. } = *reader;
    let mut table = None;
    if kind.colour == Colour::YCbCr {
        match codec {
            Codec::Stored => table = Some(Table::of_pillow()),
            // These blocks come as RGB.
            Codec::Jpeg if !layout.planar => kind.colour = Colour::Rgb,
            _ => table = Some(Table::of_libtiff(directory)?),
        }
    }
    let unpacker = Unpacker::new(directory, kind, layout.planar, table)?;
    let row_bytes = reader.row_bytes()?;
    let mut rgb = vec![0; 3 * layout.width * layout.height];
    for block in layout.blocks() {
        let samples = reader.block(block)?;
        let width = layout.block_width.min(layout.width - block.x);
        let rows = rgb.chunks_exact_mut(3 * layout.width).skip(block.y);
        for (row, samples) in rows.zip(samples.chunks_exact(row_bytes)).take(block.rows) {
            unpacker.row(samples, &mut row[3 * block.x..][..3 * width]);
        }
    }
    Ok(rgb)
}
