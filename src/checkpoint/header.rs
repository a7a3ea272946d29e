//! The header of a safetensors file.

use std::collections::HashMap;
use std::io::SeekFrom;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::tensors::ReadSeek;

/// The largest header the format allows.
pub const LONGEST: u64 = 100_000_000;

/// The tensors in a header, in the order of the file. The safetensors crate's own type would need 16 times as much memory as the text.
#[derive(Default)]
struct Header {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The tensors of a safetensors file, every rule of the format checked, and where its data starts.
pub fn read(reader: &mut dyn ReadSeek) -> std::result::Result<(Vec<(String, TensorInfo)>, u64), String> {
    let text = |error: std::io::Error| error.to_string();
    let file_len = reader.seek(SeekFrom::End(0)).map_err(text)?;
    reader.seek(SeekFrom::Start(0)).map_err(text)?;
    let mut length = [0u8; 8];
    reader.read_exact(&mut length).map_err(|_| format!("{file_len} bytes are too few for a header"))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST || length + 8 > file_len {
        return Err(format!(
            "its first bytes say that the header has {length} bytes, but the file has only {file_len}"
        ));
    }
    let mut bytes = vec![0u8; length as usize];
    reader.read_exact(&mut bytes).map_err(text)?;
    let mut header: Header = serde_json::from_slice(&bytes).map_err(|error| format!("header: {error}"))?;
    drop(bytes);
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    let metadata =
        Metadata::new(header.metadata, header.tensors.clone()).map_err(|error| format!("header: {error}"))?;
    let data_start = 8 + length;
    let wanted = data_start.checked_add(metadata.data_len() as u64);
    if wanted != Some(file_len) {
        let wanted = metadata.data_len() as u128 + u128::from(data_start);
        return Err(format!("its header describes a file of {wanted} bytes, but the file has {file_len}"));
    }
    Ok((header.tensors, data_start))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> std::result::Result<(Vec<(String, TensorInfo)>, u64), String> {
        read(&mut Cursor::new(bytes.to_vec()))
    }

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn each_broken_rule_is_an_error() {
        let good = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(parse(&file(good, 8)).is_ok());
        for (header, data, why) in [
            (good, 7, "truncated"),
            (good, 9, "trailing"),
            (r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "size"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12, "gap"),
            (r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#, 8, "overflow"),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
                "twice",
            ),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#, 8, "end"),
            (r#"{"__metadata__":{"a":1}}"#, 0, "metadata"),
            (r#"{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#, 8, "dtype"),
            ("{", 0, "JSON"),
        ] {
            assert!(parse(&file(header, data)).is_err(), "{why}");
        }
        assert!(parse(&[1, 2, 3]).is_err());
        assert!(parse(&u64::MAX.to_le_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_flipped_byte_in_a_header_never_panics(at in 0usize..61, value in any::<u8>()) {
            let mut bytes = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8);
            bytes[at] = value;
            let _ = parse(&bytes);
        }
    }
}
