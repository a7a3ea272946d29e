//! Tags of the first directory of a TIFF file, or of EXIF data, which has the same form.

/// A tag's number for the orientation.
pub const ORIENTATION: u16 = 0x0112;

/// Numbers of the first directory, each with its first value.
pub struct Tags(Vec<(u16, u32)>);

impl Tags {
    /// Reads data that begins with a TIFF header, or with `Exif\0\0` and one. Only tags of one small number are kept.
    pub fn read(data: &[u8]) -> Option<Tags> {
        let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
        let little = match data.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let bytes = |at: usize, len: usize| data.get(at..at.checked_add(len)?);
        let number = |at: usize, len: usize| {
            let joined = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
            let bytes = bytes(at, len)?;
            Some(if little { bytes.iter().rev().fold(0, joined) } else { bytes.iter().fold(0, joined) })
        };
        let directory = number(4, 4)? as usize;
        let count = number(directory, 2)? as usize;
        let entry = |i: usize| {
            let at = directory.checked_add(2 + 12 * i)?;
            let size = match number(at + 2, 2)? {
                1 | 7 => 1,
                3 => 2,
                4 => 4,
                _ => return Some(None),
            };
            let values = number(at + 4, 4)? as usize;
            // Values that do not fit into the entry lie elsewhere.
            let place = if size * values <= 4 { at + 8 } else { number(at + 8, 4)? as usize };
            Some(number(place, size).filter(|_| values > 0).map(|value| (number(at, 2).unwrap_or(0) as u16, value)))
        };
        Some(Tags((0..count).map_while(entry).flatten().collect()))
    }

    /// The first value of a tag.
    pub fn get(&self, tag: u16) -> Option<u32> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value)
    }
}

/// The orientation that XMP data states, where Pillow looks for it.
pub fn xmp_orientation(xmp: &[u8]) -> Option<u8> {
    const KEY: &[u8] = b"tiff:Orientation";
    xmp.windows(KEY.len() + 3).find_map(|window| {
        let rest = window.strip_prefix(KEY)?;
        let digit = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?.first()?;
        digit.is_ascii_digit().then(|| digit - b'0')
    })
}

/// The orientation that EXIF data states, else XMP data, as Pillow reads them.
pub fn orientation(exif: &[u8], xmp: &[u8]) -> Option<u8> {
    let from_exif = || u8::try_from(Tags::read(exif)?.get(ORIENTATION)?).ok();
    from_exif().or_else(|| xmp_orientation(xmp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A directory of these entries: tag, type, and one value.
    pub fn directory(little: bool, entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let two = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let four = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut data = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        data.extend(four(8));
        data.extend(two(entries.len() as u16));
        for &(tag, kind, value) in entries {
            data.extend([two(tag), two(kind)].concat());
            data.extend(four(1));
            match kind {
                3 => data.extend([two(value as u16), [0; 2]].concat()),
                _ => data.extend(four(value)),
            }
        }
        data.extend(four(0));
        data
    }

    #[test]
    fn numbers_of_either_order_and_size_are_read() {
        for little in [true, false] {
            for kind in [3, 4] {
                let data = directory(little, &[(0x010A, 3, 1), (ORIENTATION, kind, 6)]);
                assert_eq!(Tags::read(&data).unwrap().get(ORIENTATION), Some(6), "{little} {kind}");
                let prefixed = [b"Exif\0\0".as_slice(), &data].concat();
                assert_eq!(Tags::read(&prefixed).unwrap().get(ORIENTATION), Some(6));
                assert_eq!(Tags::read(&data).unwrap().get(0x0152), None);
            }
        }
        assert!(Tags::read(b"II+\0").is_none() && Tags::read(b"").is_none());
    }

    #[test]
    fn xmp_states_it_as_an_attribute_or_an_element() {
        assert_eq!(xmp_orientation(b"<x tiff:Orientation=\"6\"/>"), Some(6));
        assert_eq!(xmp_orientation(b"<tiff:Orientation>8</tiff:Orientation>"), Some(8));
        assert_eq!(xmp_orientation(b"tiff:Orientation"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(start in prop::bool::ANY, rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let data = [if start { b"II*\0" } else { b"MM\0*" }, &rest[..]].concat();
            let _ = Tags::read(&data).map(|tags| tags.get(ORIENTATION));
            let _ = xmp_orientation(&data);
        }
    }
}
