//! JPEG as the sixth version of the TIFF specification had it: the parts of one JPEG lie about the file.

use super::directory::{Directory, tag};
use super::jpeg;
use super::layout::Layout;
use super::ycbcr::{Subsampling, Table};
use crate::preprocess::decode::decoded::Refusal;

const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

/// Decodes the whole picture, as RGB.
pub fn decode(directory: &Directory, layout: &Layout) -> Result<Vec<u8>, Refusal> {
    if layout.planar || (layout.tiled && layout.per_plane() > 1) {
        return Err(
            "it is a TIFF with JPEG compression of the old kind in tiles or planes, which can't be decoded".into()
        );
    }
    // What is stored: a tile may reach beyond the picture.
    let (width, height) = match layout.tiled {
        true => (layout.block_width, layout.block_height),
        false => (layout.width, layout.height),
    };
    let whole = whole(directory, layout, width, height)?;
    let table = Table::of_libtiff(directory)?;
    let wanted = jpeg::Wanted { width, rows: height, samples: 3, subsampled: true, may_be_taller: true };
    let samples = jpeg::decode(None, &whole, &wanted)?;
    let rows = samples.chunks_exact(3 * width).take(layout.height).map(|row| &row[..3 * layout.width]);
    let mut rgb = rows.collect::<Vec<_>>().concat();
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    pixels.iter_mut().for_each(|pixel| *pixel = table.rgb(*pixel));
    Ok(rgb)
}

/// The parts put together to one JPEG.
fn whole(directory: &Directory, layout: &Layout, width: usize, height: usize) -> Result<Vec<u8>, Refusal> {
    let at = directory.number(tag::JPEG_INTERCHANGE_FORMAT).filter(|at| *at > 0);
    let stream = at.and_then(|at| directory.file.get(usize::try_from(at).ok()?..));
    let mut jpeg = START.to_vec();
    let (mut has_frame, mut has_interval) = (false, false);
    let mut scan = None;
    // A stream with a header and, perhaps, with everything.
    if let Some(stream) = stream {
        let stated = directory.number(tag::JPEG_INTERCHANGE_FORMAT_LENGTH).and_then(|len| usize::try_from(len).ok());
        let length = stated.filter(|len| *len > 0).unwrap_or(stream.len()).min(stream.len());
        for (marker, segment, end) in jpeg::segments(&stream[..length]) {
            match marker {
                0xda if end + 16 < length => return Ok(stream.to_vec()),
                0xda => {
                    scan = Some(segment);
                    break;
                }
                0xdb | 0xc4 => jpeg.extend(segment),
                0xdd => {
                    has_interval = true;
                    jpeg.extend(segment);
                }
                0xc0 | 0xc1 => {
                    has_frame = true;
                    jpeg.extend(segment);
                }
                _ => {}
            }
        }
    }
    if !has_frame {
        add_tables(directory, &mut jpeg)
            .and_then(|()| add_frame(directory, &mut jpeg, width, height))
            .ok_or("the old kind of JPEG data of the TIFF has no tables or no valid ones")?;
    }
    let blocks = layout.per_plane();
    if blocks > 1 && !has_interval {
        let subsampling = Subsampling::read(directory).ok_or("it is a TIFF with invalid subsampling")?;
        let across = width.div_ceil(8 * subsampling.across);
        let units = u16::try_from(across * (layout.block_height / (8 * subsampling.down)));
        jpeg.extend([0xff, 0xdd, 0, 4]);
        jpeg.extend(units.map_err(|_| "it is a TIFF with strips of JPEG that are too large")?.to_be_bytes());
    }
    for block in layout.blocks() {
        let data = layout.compressed(directory.file, block, 0)?;
        if block.index == 0 && !data.starts_with(&[0xff, 0xda]) {
            jpeg.extend(scan.unwrap_or(&[0xff, 0xda, 0, 12, 3, 0, 0, 1, 0x11, 2, 0x22, 0, 63, 0]));
        }
        if block.index > 0 {
            jpeg.extend([0xff, 0xd0 + (block.index - 1) as u8 % 8]);
        }
        jpeg.extend(data);
        if jpeg.len() > 2 * directory.file.len() + 4096 {
            return Err("it is a TIFF whose strips of JPEG share their data".into());
        }
    }
    jpeg.extend(END);
    Ok(jpeg)
}

/// The tables of quantisation and of codes that tags point at.
fn add_tables(directory: &Directory, jpeg: &mut Vec<u8>) -> Option<()> {
    let offsets = |tag| Some(directory.numbers(tag)?.first(3)).filter(|offsets| offsets.len() == 3);
    let bytes = |at: u64, len: usize| {
        let at = usize::try_from(at).ok()?;
        directory.file.get(at..at.checked_add(len)?)
    };
    for (i, at) in offsets(tag::JPEG_Q_TABLES)?.into_iter().enumerate() {
        jpeg.extend([0xff, 0xdb, 0, 67, i as u8]);
        jpeg.extend(bytes(at, 64)?);
    }
    for (class, tag) in [(0x00, tag::JPEG_DC_TABLES), (0x10, tag::JPEG_AC_TABLES)] {
        for (i, at) in offsets(tag)?.into_iter().enumerate() {
            let counts = bytes(at, 16)?;
            let symbols: usize = counts.iter().map(|count| usize::from(*count)).sum();
            jpeg.extend([0xff, 0xc4]);
            jpeg.extend(u16::try_from(19 + symbols).ok()?.to_be_bytes());
            jpeg.push(class | i as u8);
            jpeg.extend(bytes(at, 16 + symbols)?);
        }
    }
    Some(())
}

/// The header of the picture, from the tags.
fn add_frame(directory: &Directory, jpeg: &mut Vec<u8>, width: usize, height: usize) -> Option<()> {
    let subsampling = Subsampling::read(directory)?;
    jpeg.extend([0xff, 0xc0, 0, 17, 8]);
    jpeg.extend(u16::try_from(height).ok()?.to_be_bytes());
    jpeg.extend(u16::try_from(width).ok()?.to_be_bytes());
    let factors = (subsampling.across << 4 | subsampling.down) as u8;
    jpeg.extend([3, 0, factors, 0, 1, 0x11, 1, 2, 0x11, 2]);
    Some(())
}
