//! The ways in which a TIFF's samples are compressed.

use std::io::Read;

use super::fax::Scheme;
use crate::preprocess::decode::decoded::Refusal;

/// How the samples are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Stored,
    /// As faxes.
    Fax(Scheme),
    /// LZW.
    Lzw,
    /// JPEG as the sixth version of the specification had it.
    OldJpeg,
    /// JPEG.
    Jpeg,
    /// Deflate.
    Deflate,
    /// Runs of bytes.
    PackBits,
    /// LZMA2, in an xz container.
    Lzma,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// The codec of a number of the tag Compression. `group_3` is the tag of options of that codec.
    pub fn of(number: u64, group_3: u64) -> Result<Codec, Refusal> {
        Ok(match number {
            1 => Codec::Stored,
            2 => Codec::Fax(Scheme::Huffman),
            3 if group_3 & 1 == 1 => Codec::Fax(Scheme::Group3TwoDimensions),
            3 => Codec::Fax(Scheme::Group3),
            4 => Codec::Fax(Scheme::Group4),
            5 => Codec::Lzw,
            6 => Codec::OldJpeg,
            7 => Codec::Jpeg,
            8 | 32946 => Codec::Deflate,
            32773 => Codec::PackBits,
            34925 => Codec::Lzma,
            50000 => Codec::Zstd,
            _ => {
                let name = match number {
                    9 | 10 => "JBIG",
                    32766 => "NeXT's runs",
                    32771 => "fax codes in words of 16 bits",
                    32809 => "ThunderScan",
                    32867 => "Kodak's KDC scheme",
                    33003 | 33005 | 34712 => "JPEG 2000",
                    34661 => "JBIG",
                    34676 | 34677 => "LogLuv",
                    34887 => "LERC",
                    34892 => "a DNG's lossy JPEG",
                    50001 => "WebP",
                    50002 | 52546 => "JPEG XL",
                    _ => return Err(format!("it is a TIFF compressed in an unknown way (number {number})").into()),
                };
                return Err(format!("it is a TIFF compressed with {name}, which can't be decoded").into());
            }
        })
    }

    /// Whether the samples may be stored as differences.
    pub fn has_predictor(self) -> bool {
        matches!(self, Codec::Lzw | Codec::Deflate | Codec::Lzma | Codec::Zstd)
    }
}

/// Expands data of a codec that knows nothing of pictures to so many rows of so many bytes.
pub fn expand(codec: Codec, data: &[u8], row_bytes: usize, rows: usize) -> Result<Vec<u8>, Refusal> {
    let wanted = row_bytes.checked_mul(rows).ok_or("it is a TIFF whose tiles or strips are too large")?;
    let (name, expanded) = match codec {
        Codec::Lzw => ("LZW", lzw(data, wanted)),
        Codec::Deflate => ("deflate", read(flate2::read::ZlibDecoder::new(data), wanted)),
        Codec::PackBits => ("PackBits", pack_bits(data, wanted)),
        Codec::Lzma => {
            // A dictionary may be as large as the data that it serves, or as libtiff's largest.
            let most = (wanted.saturating_mul(2) / 1024).max(80 << 10);
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            ("LZMA", read(lzma_rust2::XzReader::new_mem_limit(data, false, most), wanted))
        }
        Codec::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(data);
            ("Zstandard", decoder.ok().and_then(|decoder| read(decoder, wanted)))
        }
        Codec::Stored | Codec::Fax(_) | Codec::OldJpeg | Codec::Jpeg => ("", None),
    };
    expanded.ok_or_else(|| format!("the {name}-compressed data of the TIFF is damaged or ends too early").into())
}

/// So many bytes of a decoder's output.
fn read(decoder: impl Read, wanted: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(wanted as u64).read_to_end(&mut bytes).ok()?;
    (bytes.len() == wanted).then_some(bytes)
}

/// LZW, and its first form, whose codes have their bits in reverse order and grow one code later.
fn lzw(mut data: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let old = matches!(data, [0, second, ..] if second & 1 == 1);
    let mut decoder = match old {
        true => weezl::decode::Decoder::new(weezl::BitOrder::Lsb, 8),
        false => weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8),
    };
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while filled < wanted {
        let done = decoder.decode_bytes(data, &mut bytes[filled..]);
        filled += done.consumed_out;
        data = &data[done.consumed_in..];
        if done.consumed_out == 0 && (done.consumed_in == 0 || done.status.is_err()) {
            return None;
        }
    }
    Some(bytes)
}

/// A length and a byte to repeat, or a length and so many bytes.
fn pack_bits(data: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = data.iter();
    while bytes.len() < wanted {
        match *rest.next()? as i8 {
            -128 => {}
            count @ 0.. => {
                let count = (count as usize + 1).min(wanted - bytes.len());
                bytes.extend_from_slice(rest.as_slice().get(..count)?);
                rest = rest.as_slice()[count..].iter();
            }
            count => bytes.resize((bytes.len() + usize::from(count.unsigned_abs()) + 1).min(wanted), *rest.next()?),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_bits_has_runs_and_copies() {
        let data = [0xfe, 7, 0x80, 2, 1, 2, 3, 0xff, 9];
        assert_eq!(pack_bits(&data, 8).unwrap(), [7, 7, 7, 1, 2, 3, 9, 9]);
        // What is not needed is not looked at.
        assert_eq!(pack_bits(&data, 5).unwrap(), [7, 7, 7, 1, 2]);
        assert_eq!(pack_bits(&data, 9), None);
        assert_eq!(pack_bits(&[3, 1], 2), None);
    }

    #[test]
    fn damaged_data_is_refused_by_every_codec() {
        for codec in [Codec::Lzw, Codec::Deflate, Codec::PackBits, Codec::Lzma, Codec::Zstd] {
            for data in [&[][..], &[1], &[0xff; 9], &[0x78, 0x9c, 3, 0]] {
                let refusal = expand(codec, data, 100, 100).unwrap_err();
                assert!(refusal.reason.contains("compressed data of the TIFF is damaged"), "{}", refusal.reason);
            }
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        assert!(Codec::of(50001, 0).unwrap_err().reason.contains("compressed with WebP"));
        assert!(Codec::of(7777, 0).unwrap_err().reason.contains("unknown way (number 7777)"));
    }
}
