//! TIFF, as Pillow reads it: `kind.rs` has its table of what pixels are read, `codec.rs` the ways of compression.
//!
//! Pillow reads samples that are stored as they are by itself, and leaves compressed ones to libtiff. The two differ in details, and
//! this follows both. The picture is turned by its orientation at once, because Pillow does that when it loads a TIFF.

use std::cell::Cell;

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

mod bits;
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
    let Some((width, height)) = size(bytes) else {
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
    // Strips may share their data, but nobody has to expand the same data for ever.
    let budget = Cell::new(8 * (bytes.len() + 3 * width * height) + (1 << 20));
    let reader =
        Reader { directory: &directory, layout: &layout, kind, codec, predictor, subsampling, reversed, budget };
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A TIFF of 8 by 4 pixels in one strip; tags are short numbers.
    fn file(tags: &[(u16, u16)], data: &[u8]) -> Vec<u8> {
        let mut all = vec![(tag::WIDTH, 8), (tag::HEIGHT, 4), (tag::STRIP_BYTE_COUNTS, data.len() as u16)];
        all.extend(tags);
        all.push((tag::STRIP_OFFSETS, 14 + 12 * (all.len() as u16 + 1)));
        let mut file = b"II*\0\x08\0\0\0".to_vec();
        file.extend((all.len() as u16).to_le_bytes());
        for (tag, value) in all {
            file.extend([tag.to_le_bytes(), [3, 0], [1, 0], [0, 0], value.to_le_bytes(), [0, 0]].concat());
        }
        [file, vec![0; 4], data.to_vec()].concat()
    }

    fn grey(bits: u16, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        let decoded = decode(&file(&[(tag::BITS_PER_SAMPLE, bits), (tag::PHOTOMETRIC, 1)], data))?;
        assert_eq!((decoded.width, decoded.height, decoded.orientation), (8, 4, None));
        Ok(decoded.rgb.chunks_exact(3).map(|pixel| pixel[0]).collect())
    }

    #[test]
    fn small_samples_are_scaled_and_large_ones_cut() {
        let bytes: Vec<u8> = (0..32).map(|i| i * 7).collect();
        assert_eq!(grey(8, &bytes).unwrap(), bytes);
        assert_eq!(grey(1, &[0b1010_0000, 0, 0, 1]).unwrap()[..4], [255, 0, 255, 0]);
        assert_eq!(grey(2, &[0b0001_1011; 8]).unwrap()[..4], [0, 85, 170, 255]);
        assert_eq!(grey(4, &[0x1f; 16]).unwrap()[..2], [17, 255]);
        assert_eq!(grey(12, &[0x01, 0x20, 0xff].repeat(16)).unwrap()[..2], [18, 255]);
        let wide: Vec<u8> = (0..32u16).flat_map(|i| (i * 20).to_le_bytes()).collect();
        assert_eq!(grey(16, &wide).unwrap()[11..14], [220, 240, 255]);
    }

    #[test]
    fn refusals_are_sentences_that_say_what_the_file_has() {
        let reason = |bytes: &[u8]| decode(bytes).err().unwrap().reason;
        let refused = |tags: &[(u16, u16)]| reason(&file(tags, &[0; 32]));
        assert_eq!(
            refused(&[(tag::BITS_PER_SAMPLE, 64), (tag::SAMPLE_FORMAT, 3)]),
            "it is a TIFF with grey pixels of 1 floating-point sample of 64 bits, which can't be decoded"
        );
        assert_eq!(refused(&[(tag::COMPRESSION, 34887)]), "it is a TIFF compressed with LERC, which can't be decoded");
        assert!(refused(&[(tag::BITS_PER_SAMPLE, 16)]).contains("truncated"));
        assert!(refused(&[(tag::TILE_WIDTH, 0), (tag::COMPRESSION, 5)]).contains("no valid size"));
        assert!(reason(b"II*\0").contains("truncated"));
        assert!(reason(b"MM\0+").contains("BigTIFF in big-endian order"));
    }

    #[test]
    fn the_picture_is_turned_at_once() {
        let bytes: Vec<u8> = (0..32).collect();
        let turned = decode(&file(&[(tag::BITS_PER_SAMPLE, 8), (tag::PHOTOMETRIC, 1), (tag::ORIENTATION, 6)], &bytes));
        let turned = turned.unwrap();
        assert_eq!((turned.width, turned.height, turned.orientation), (4, 8, None));
        assert_eq!(turned.rgb[..3], [24; 3]);
        assert_eq!(size(&file(&[], &[])), Some((8, 4)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            compression in prop::sample::select(vec![1u16, 2, 3, 4, 5, 6, 7, 8, 32773, 34925, 50000]),
            photometric in 0u16..10,
            bits in prop::sample::select(vec![1u16, 2, 4, 8, 12, 16, 32]),
            more in prop::collection::vec((prop::sample::select(tag::ALL), 0u16..40), 0..6),
            data in prop::collection::vec(any::<u8>(), 0..300),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let tags = [(tag::COMPRESSION, compression), (tag::PHOTOMETRIC, photometric), (tag::BITS_PER_SAMPLE, bits)];
            let mut bytes = file(&[&tags[..], &more].concat(), &data);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Ok(decoded) = decode(&bytes) {
                prop_assert_eq!(decoded.rgb.len(), 3 * decoded.width * decoded.height);
            }
        }
    }
}
