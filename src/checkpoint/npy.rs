//! The header of a NumPy array file. It is a small Python dictionary, for which this file has a small parser.

use safetensors::Dtype;

/// The longest header that is read.
pub const MAX_HEADER: u64 = 1 << 16;
/// The most axes an array may have.
const MAX_AXES: usize = 32;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub dtype: Dtype,
    /// Whether the values are in Fortran order, where the first axis varies fastest. Makes no difference for one axis.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes of the header, after which the values begin.
    pub len: usize,
    /// Bytes of the values.
    pub values: usize,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, which may end anywhere after it.
    pub fn read(bytes: &[u8]) -> Result<Header, String> {
        let short = || "its header is cut short".to_owned();
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it is not a .npy file")?;
        let (start, text_len) = match rest {
            [1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([*a, *b]))),
            [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
            [1..=3, ..] => return Err(short()),
            _ => return Err("its .npy version is not known".into()),
        };
        let len = start + text_len;
        if len as u64 > MAX_HEADER {
            return Err(format!("its header is said to be {text_len} bytes long"));
        }
        let text = bytes.get(start..len).ok_or_else(short)?;
        let mut text = Text(std::str::from_utf8(text).map_err(|_| "its header is no text")?);
        let (dtype, fortran, shape) = text.dictionary().ok_or("its header can't be read")?;
        let dtype = known(dtype)?;
        let count = shape.iter().try_fold(1usize, |len, n| len.checked_mul(*n)).ok_or("it is too large")?;
        let values = count.checked_mul(dtype.bitsize() / 8).ok_or("it is too large")?;
        Ok(Header { dtype, fortran: fortran && shape.len() > 1, shape, len, values })
    }
}

fn known(descr: &str) -> Result<Dtype, String> {
    Ok(match descr {
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        // NumPy has no bfloat16. JAX writes such values as two bytes without a type.
        "<V2" | "|V2" => Dtype::BF16,
        "<f8" => Dtype::F64,
        "<i8" => Dtype::I64,
        "<i4" => Dtype::I32,
        "<u4" => Dtype::U32,
        "|u1" => Dtype::U8,
        "|b1" => Dtype::BOOL,
        other => return Err(format!("is of type {other}")),
    })
}

/// The part of a header that was not read yet.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` in any order, spaces and a line's end after it.
    fn dictionary(&mut self) -> Option<(&'a str, bool, Vec<usize>)> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.take("{")?;
        while self.take("}").is_none() {
            let key = self.quoted()?;
            self.take(":")?;
            match key {
                "descr" if self.0.trim_start().starts_with('[') => {
                    // A structured type, which is not supported, so the rest is not read.
                    return Some(("a structure", false, Vec::new()));
                }
                "descr" => descr = Some(self.quoted()?),
                "fortran_order" => fortran = Some(self.take("True").is_some() || self.take("False").map(|()| false)?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.take(",").is_none() && !self.0.trim_start().starts_with('}') {
                return None;
            }
        }
        self.0.trim().is_empty().then_some((descr?, fortran?, shape?))
    }

    fn take(&mut self, what: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(what)?;
        Some(())
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = rest[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.take("(")?;
        let mut all = Vec::new();
        while self.take(")").is_none() {
            let rest = self.0.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            all.push(rest[..end].parse().ok().filter(|_| all.len() < MAX_AXES)?);
            self.0 = &rest[end..];
            // Python 2 wrote its long numbers with an L.
            let _ = self.take("L");
            if self.take(",").is_none() && !self.0.trim_start().starts_with(')') {
                return None;
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn headers_as_numpy_writes_them() {
        let read = |text: &str| Header::read(&file(text)).unwrap();
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n";
        let header = read(text);
        assert_eq!(
            (header.dtype, header.fortran, &header.shape[..], header.values),
            (Dtype::F32, false, &[3, 4][..], 48)
        );
        assert_eq!(header.len, 10 + text.len());
        assert!(read("{'descr': '<f8', 'fortran_order': True, 'shape': (3L, 4L)}").fortran);
        assert!(!read("{'descr': '<f8', 'fortran_order': True, 'shape': (3,)}").fortran);
        assert_eq!(read("{'shape': (), 'fortran_order': False, 'descr': '|V2'}").values, 2);
    }

    #[test]
    fn broken_headers_are_errors() {
        for text in [
            "",
            "{",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
            "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        ] {
            assert!(Header::read(&file(text)).is_err(), "{text}");
        }
        let deep = format!("{{'descr': {}", "(".repeat(60_000));
        assert!(Header::read(&file(&deep)).is_err());
        assert!(Header::read(b"\x93NUMPY\x02\0\xff\xff\xff\xff").unwrap_err().contains("4294967295 bytes long"));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_panics(at in 0usize..80, value in any::<u8>()) {
            let mut bytes = file("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n");
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = Header::read(&bytes);
        }
    }
}
