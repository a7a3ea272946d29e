//! The segments of a JPEG file, read before anything is decoded.

use super::super::decoded::Refusal;

/// Start of image.
pub const SOI: u8 = 0xd8;
/// End of image.
pub const EOI: u8 = 0xd9;
/// Tables of codes.
pub const DHT: u8 = 0xc4;
/// Start of a scan.
pub const SOS: u8 = 0xda;
/// Number of lines, for a frame whose header gives none.
pub const DNL: u8 = 0xdc;
/// Adobe's segment, which says how colours are stored.
pub const APP14: u8 = 0xee;

/// A frame's header.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The marker's low four bits: 0 and 1 sequential, 2 progressive, 3 lossless, 9 and above arithmetic.
    pub process: u8,
    /// Bits a sample.
    pub precision: u8,
    /// Rows; 0 if the number follows the first scan.
    pub height: u16,
    /// Columns.
    pub width: u16,
    /// Identifier, sampling factors and quantisation table of each component.
    pub components: Vec<[u8; 3]>,
}

/// How colours are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Grey.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Luminance and two colour differences.
    YCbCr,
    /// Cyan, magenta, yellow and black, inverted as Adobe writes them.
    Cmyk,
    /// The first three of CMYK as luminance and differences.
    Ycck,
}

/// What stands before the first scan.
pub struct Header<'a> {
    /// The frame.
    pub frame: Frame,
    /// How many components the first scan has.
    pub scan_components: u8,
    /// The segments that a decoder needs, each with its marker: all but comments and applications' data.
    pub tables: Vec<(u8, &'a [u8])>,
    /// Where the first scan's marker begins.
    pub scan: usize,
    /// EXIF data, joined if it was split.
    pub exif: Vec<u8>,
    /// XMP data.
    pub xmp: &'a [u8],
    /// Adobe's transform, if the file states one.
    adobe: Option<u8>,
    jfif: bool,
}

impl Header<'_> {
    /// How colours are stored, by the rules of the IJG's library.
    pub fn colours(&self) -> Option<Colours> {
        let ids: Vec<u8> = self.frame.components.iter().map(|component| component[0]).collect();
        Some(match (ids.len(), self.adobe) {
            (1, _) => Colours::Grey,
            (3, _) if self.jfif => Colours::YCbCr,
            (3, Some(0)) => Colours::Rgb,
            (3, None) if ids == *b"RGB" || self.frame.process == 3 && ids != [1, 2, 3] => Colours::Rgb,
            (3, _) => Colours::YCbCr,
            (4, None | Some(0)) => Colours::Cmyk,
            (4, _) => Colours::Ycck,
            _ => return None,
        })
    }
}

/// Reads all segments before the first scan.
pub fn header(bytes: &[u8]) -> Result<Header<'_>, Refusal> {
    let (mut frame, mut rows) = (None, 0);
    let (mut tables, mut exif, mut xmp, mut adobe, mut jfif) = (Vec::new(), Vec::new(), &[][..], None, false);
    let mut at = 2;
    while let Some((start, marker, segment)) = next(bytes, at) {
        at = start + 2;
        let Some(segment) = segment else { continue };
        match marker {
            EOI => break,
            SOS => {
                let scan_components = segment.first().copied().unwrap_or(0);
                let mut frame: Frame = frame.ok_or("the JPEG has no frame header before its first scan")?;
                if frame.height == 0 {
                    frame.height = rows;
                }
                return Ok(Header { frame, scan_components, tables, scan: start, exif, xmp, adobe, jfif });
            }
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let &[precision, y1, y0, x1, x0, count, ref rest @ ..] = segment else {
                    return Err("the JPEG's frame header is too short".into());
                };
                let components: Vec<[u8; 3]> =
                    rest.chunks_exact(3).take(count.into()).map(|c| [c[0], c[1], c[2]]).collect();
                if frame.is_some() || components.len() != usize::from(count) {
                    return Err("the JPEG has two frame headers, or a damaged one".into());
                }
                let [height, width] = [[y1, y0], [x1, x0]].map(u16::from_be_bytes);
                frame = Some(Frame { process: marker & 15, precision, height, width, components });
                tables.push((marker, segment));
            }
            0xe0 if segment.starts_with(b"JFIF\0") && segment.len() >= 12 => jfif = true,
            0xe1 if segment.starts_with(b"Exif\0\0") => exif.extend(&segment[if exif.is_empty() { 0 } else { 6 }..]),
            0xe1 => xmp = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0").unwrap_or(xmp),
            APP14 if segment.starts_with(b"Adobe") && segment.len() >= 12 => adobe = Some(segment[11]),
            // Some files state the number of rows here already.
            DNL => rows = segment.first_chunk().map_or(rows, |two| u16::from_be_bytes(*two)),
            0xe0..=0xef | 0xfe => {}
            _ => tables.push((marker, segment)),
        }
        at += 2 + segment.len();
    }
    Err("the JPEG is truncated: it has no scan".into())
}

/// What follows the first scan's marker.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// Where the picture's end marker begins, if it has one.
    pub end: Option<usize>,
    /// The number of rows that a marker states.
    pub rows: Option<u16>,
    /// Where that marker's segment begins and ends.
    pub rows_at: Option<[usize; 2]>,
}

/// Walks over scans to the end of the picture. What follows it (another one, a video) is not looked at.
pub fn rest(bytes: &[u8], mut at: usize) -> Rest {
    let (mut rows, mut rows_at) = (None, None);
    while let Some((start, marker, segment)) = next(bytes, at) {
        at = start + 2 + segment.map_or(0, |segment| 2 + segment.len());
        match marker {
            EOI => return Rest { end: Some(start), rows, rows_at },
            DNL if rows.is_none() => {
                rows = segment.and_then(|two| Some(u16::from_be_bytes(*two.first_chunk()?)));
                rows_at = Some([start, at]);
            }
            _ => {}
        }
    }
    Rest { end: None, rows, rows_at }
}

/// The next marker: its place, its number, and its segment if it has one; `None` where the file ends before the segment does.
///
/// Fill bytes, and whatever lies between segments, are skipped. A length that is too small to be one counts as an empty segment.
fn next(bytes: &[u8], at: usize) -> Option<(usize, u8, Option<&[u8]>)> {
    let rest = bytes.get(at..)?;
    let start = at + rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
    let marker = bytes[start + 1];
    if matches!(marker, EOI) {
        return Some((start, marker, Some(&[])));
    }
    if matches!(marker, 0x01 | 0xd0..=SOI) {
        return Some((start, marker, None));
    }
    let length = usize::from(u16::from_be_bytes(*bytes.get(start + 2..)?.first_chunk()?));
    Some((start, marker, Some(bytes.get(start + 4..start + 2 + length.max(2))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
        [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
    }

    /// A picture of three components, with a scan for each, data between them and a marker that states nine rows.
    fn picture(before: &[u8], ids: [u8; 3]) -> Vec<u8> {
        let components: Vec<u8> = ids.iter().flat_map(|id| [*id, 0x11, 0]).collect();
        let frame = segment(0xc0, &[&[8, 0, 0, 0, 9, 3][..], &components].concat());
        let scans = (0..3).flat_map(|_| [segment(SOS, &[1, 2, 3]), vec![7, 0xff, 0, 0xff, 0xd3, 9]].concat());
        let thumbnail = segment(0xe1, &[0xff, 0xd8, 0xff, SOS, 0xff, EOI]);
        let scans: Vec<u8> = scans.collect();
        [&[0xff, SOI][..], &thumbnail, before, &frame, &scans, &segment(DNL, &[0, 9]), &[0xff, 0xff, EOI]].concat()
    }

    #[test]
    fn a_picture_ends_where_it_ends() {
        let whole = picture(&[], [1, 2, 3]);
        let head = header(&whole).ok().unwrap();
        assert_eq!((head.frame.width, head.frame.height, head.scan_components), (9, 0, 1));
        assert_eq!(head.tables.len(), 1);
        let rows_at = Some([whole.len() - 9, whole.len() - 3]);
        let end = Rest { end: Some(whole.len() - 2), rows: Some(9), rows_at };
        for behind in [&[0xff, SOS, 1, 2][..], &[0; 9], &[], &picture(&[], [1, 2, 3])] {
            assert_eq!(rest(&[&whole, behind].concat(), head.scan), end);
        }
        for cut in head.scan..whole.len() - 1 {
            assert_eq!(rest(&whole[..cut], head.scan).end, None, "{cut}");
        }
    }

    #[test]
    fn colours_are_those_that_the_segments_say() {
        let adobe = |transform| segment(APP14, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat());
        let jfif = segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        for (before, ids, want) in [
            (vec![], [1, 2, 3], Colours::YCbCr),
            (vec![], *b"RGB", Colours::Rgb),
            (jfif.clone(), *b"RGB", Colours::YCbCr),
            (adobe(0), [1, 2, 3], Colours::Rgb),
            (adobe(1), *b"RGB", Colours::YCbCr),
            ([jfif, adobe(0)].concat(), [1, 2, 3], Colours::YCbCr),
        ] {
            assert_eq!(header(&picture(&before, ids)).ok().unwrap().colours(), Some(want));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..80, byte in any::<u8>(), cut in 0usize..90) {
            let mut file = picture(&[], [1, 2, 3]);
            let at = at % file.len();
            file[at] = byte;
            file.truncate(cut.max(2));
            if let Ok(head) = header(&file) {
                let _ = (head.colours(), rest(&file, head.scan));
            }
        }
    }
}
