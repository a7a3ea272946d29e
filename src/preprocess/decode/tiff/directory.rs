//! The first directory of a TIFF file: its tags and their values.

/// Numbers of the tags that are read.
pub mod tag {
    macro_rules! tags {
        ($($name:ident $number:literal)*) => {
            $(pub const $name: u16 = $number;)*
            /// All of them.
            pub const ALL: &[u16] = &[$($number),*];
        };
    }
    tags! {
        WIDTH 256
        HEIGHT 257
        BITS_PER_SAMPLE 258
        COMPRESSION 259
        PHOTOMETRIC 262
        FILL_ORDER 266
        STRIP_OFFSETS 273
        ORIENTATION 274
        SAMPLES_PER_PIXEL 277
        ROWS_PER_STRIP 278
        STRIP_BYTE_COUNTS 279
        PLANAR_CONFIGURATION 284
        GROUP_3_OPTIONS 292
        PREDICTOR 317
        COLOUR_MAP 320
        TILE_WIDTH 322
        TILE_HEIGHT 323
        TILE_OFFSETS 324
        TILE_BYTE_COUNTS 325
        EXTRA_SAMPLES 338
        SAMPLE_FORMAT 339
        JPEG_TABLES 347
        JPEG_INTERCHANGE_FORMAT 513
        JPEG_INTERCHANGE_FORMAT_LENGTH 514
        JPEG_Q_TABLES 519
        JPEG_DC_TABLES 520
        JPEG_AC_TABLES 521
        YCBCR_COEFFICIENTS 529
        YCBCR_SUBSAMPLING 530
        REFERENCE_BLACK_WHITE 532
        XMP 700
    }
}

/// The tags of a file's first directory. Values stay in the file until they are asked for.
pub struct Directory<'a> {
    /// The whole file.
    pub file: &'a [u8],
    /// Whether numbers have their lowest byte first.
    pub little: bool,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    tag: u16,
    kind: u16,
    data: &'a [u8],
}

/// The whole numbers of one tag.
#[derive(Clone, Copy)]
pub struct Numbers<'a> {
    data: &'a [u8],
    size: usize,
    little: bool,
}

/// Whether a file begins as TIFF files do.
pub fn is_tiff(file: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|start| file.starts_with(*start))
}

/// A number of up to eight bytes.
fn number(bytes: &[u8], little: bool) -> u64 {
    let joined = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, joined) } else { bytes.iter().fold(0, joined) }
}

/// The bytes that one value of a type takes, for the types that Pillow knows.
fn size_of(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 => 8,
        _ => return None,
    })
}

impl<'a> Directory<'a> {
    /// Reads the first directory. A directory that is cut off gives the tags before the cut, and so does one
    /// with a value outside the file. The second of two equal tags is left out.
    pub fn read(file: &'a [u8]) -> Option<Directory<'a>> {
        let little = file.starts_with(b"II");
        let big = file.get(2..4)?.contains(&b'+');
        let read = |at: usize, len: usize| Some(number(file.get(at..at.checked_add(len)?)?, little));
        let word = if big { 8 } else { 4 };
        let start = usize::try_from(read(word, word)?).ok()?;
        let (count_size, entry_size) = if big { (8, 20) } else { (2, 12) };
        let count = read(start, count_size).unwrap_or(0);
        let mut directory = Directory { file, little, entries: Vec::new() };
        // Values outside the entries take no more bytes than the file has.
        let mut left = file.len() as u64;
        let mut at = start.saturating_add(count_size);
        for _ in 0..count {
            let Some(entry) = at.checked_add(entry_size).and_then(|end| file.get(at..end)) else { break };
            at += entry_size;
            let (tag, kind) = (number(&entry[..2], little) as u16, number(&entry[2..4], little) as u16);
            let values = number(&entry[4..4 + word], little);
            let Some(size) = size_of(kind).and_then(|size| size.checked_mul(values)) else { continue };
            let place = &entry[4 + word..];
            let data = if size <= word as u64 {
                Some(&place[..size as usize])
            } else if size <= left {
                left -= size;
                // Pillow stops here if the file ends before the value does.
                let from = usize::try_from(number(place, little)).ok();
                let data = from.and_then(|from| file.get(from..from.checked_add(size as usize)?));
                if data.is_none() {
                    break;
                }
                data
            } else {
                None
            };
            if let Some(data) = data.filter(|data| !data.is_empty() && tag::ALL.contains(&tag) && !directory.has(tag)) {
                directory.entries.push(Entry { tag, kind, data });
            }
        }
        Some(directory)
    }

    fn entry(&self, tag: u16) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// Whether a tag is there.
    pub fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// The bytes of a tag's values, of any type.
    pub fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entry(tag).map(|entry| entry.data)
    }

    /// All numbers of a tag whose values are whole numbers of two, four or eight bytes.
    pub fn numbers(&self, tag: u16) -> Option<Numbers<'a>> {
        let entry = self.entry(tag)?;
        let size = match entry.kind {
            3 => 2,
            4 | 13 => 4,
            16 => 8,
            _ => return None,
        };
        Some(Numbers { data: entry.data, size, little: self.little })
    }

    /// The first number of a tag.
    pub fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.get(0)
    }

    /// The values of a tag as real numbers, if they are fractions, floats or whole numbers.
    pub fn reals(&self, tag: u16) -> Option<Vec<f32>> {
        let entry = self.entry(tag)?;
        let whole = |bytes: &[u8]| number(bytes, self.little);
        let values = |size: usize, value: &dyn Fn(&[u8]) -> f32| {
            Some(entry.data.chunks_exact(size).take(16).map(value).collect::<Vec<f32>>())
        };
        match entry.kind {
            5 => values(8, &|bytes| match whole(&bytes[4..]) {
                0 => 0.0,
                below => (whole(&bytes[..4]) as f64 / below as f64) as f32,
            }),
            11 => values(4, &|bytes| f32::from_bits(whole(bytes) as u32)),
            12 => values(8, &|bytes| f64::from_bits(whole(bytes)) as f32),
            _ => {
                let numbers = self.numbers(tag)?;
                Some((0..numbers.len().min(16)).filter_map(|i| numbers.get(i)).map(|value| value as f32).collect())
            }
        }
    }
}

impl Numbers<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.data.len() / self.size
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(self.size)?;
        Some(number(self.data.get(at..at + self.size)?, self.little))
    }

    /// The first ones, at most so many.
    pub fn first(&self, most: usize) -> Vec<u64> {
        (0..self.len().min(most)).filter_map(|i| self.get(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a directory of entries of one number each: tag, type, number of values, and the number.
    fn file(little: bool, entries: &[(u16, u16, u32, u32)]) -> Vec<u8> {
        let two = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let four = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut file = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        file.extend(four(8));
        file.extend(two(entries.len() as u16));
        for &(tag, kind, count, value) in entries {
            file.extend([two(tag), two(kind)].concat());
            file.extend(four(count));
            match (kind, count) {
                (3, 1) => file.extend([two(value as u16), [0; 2]].concat()),
                _ => file.extend(four(value)),
            }
        }
        file
    }

    #[test]
    fn numbers_of_both_orders_and_all_sizes_are_read() {
        for little in [true, false] {
            let bytes = file(little, &[(tag::WIDTH, 3, 1, 7), (tag::HEIGHT, 4, 1, 70_000), (tag::XMP, 7, 3, 0)]);
            let directory = Directory::read(&bytes).unwrap();
            assert_eq!(directory.number(tag::WIDTH), Some(7));
            assert_eq!(directory.number(tag::HEIGHT), Some(70_000));
            assert_eq!(directory.bytes(tag::XMP), Some(&[0, 0, 0][..]));
            assert_eq!(directory.number(tag::XMP), None);
        }
    }

    #[test]
    fn values_elsewhere_are_read_and_end_the_directory_where_they_are_missing() {
        let mut bytes =
            file(true, &[(tag::BITS_PER_SAMPLE, 3, 3, 46), (tag::STRIP_OFFSETS, 4, 2, 1000), (tag::WIDTH, 3, 1, 7)]);
        bytes.extend([8, 0, 9, 0, 10, 0]);
        let directory = Directory::read(&bytes).unwrap();
        assert_eq!(directory.numbers(tag::BITS_PER_SAMPLE).unwrap().first(9), [8, 9, 10]);
        assert!(!directory.has(tag::STRIP_OFFSETS) && !directory.has(tag::WIDTH));
    }

    #[test]
    fn the_first_of_equal_tags_counts() {
        let bytes = file(false, &[(tag::WIDTH, 3, 1, 7), (tag::WIDTH, 3, 1, 8)]);
        assert_eq!(Directory::read(&bytes).unwrap().number(tag::WIDTH), Some(7));
    }

    #[test]
    fn fractions_and_floats_are_real_numbers() {
        let mut bytes =
            file(true, &[(tag::YCBCR_COEFFICIENTS, 5, 2, 34), (tag::REFERENCE_BLACK_WHITE, 11, 1, 1.5f32.to_bits())]);
        bytes.extend([3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let directory = Directory::read(&bytes).unwrap();
        assert_eq!(directory.reals(tag::YCBCR_COEFFICIENTS), Some(vec![0.75, 0.0]));
        assert_eq!(directory.reals(tag::REFERENCE_BLACK_WHITE), Some(vec![1.5]));
    }
}
