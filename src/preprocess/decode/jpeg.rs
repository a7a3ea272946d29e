//! What a JPEG's markers tell before it is decoded.

/// Why a JPEG is not decoded, if so.
///
/// Decoders fill what is missing with grey, and the one used here mixes up colours where a baseline picture has its components
/// in scans of their own and some of them are subsampled. What follows the end of the picture (another one, a video) is not looked at.
pub fn refusal(bytes: &[u8]) -> Option<&'static str> {
    const TRUNCATED: Option<&str> = Some("the JPEG is truncated: it has no end-of-image marker");
    let mut at = 2;
    let mut baseline_components = 0;
    loop {
        // Fill bytes, and whatever lies between segments, are skipped up to the next marker.
        let rest = bytes.get(at..).unwrap_or_default();
        let next = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
        let Some(start) = next.map(|next| at + next) else { return TRUNCATED };
        let marker = bytes[start + 1];
        at = start + 2;
        match marker {
            // End of the picture.
            0xd9 => return None,
            // Markers without a length: restarts, start of a picture.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let (Some(high), Some(low)) = (bytes.get(at), bytes.get(at + 1)) else { return TRUNCATED };
        let segment = bytes.get(at + 2..at + usize::from(*high) * 256 + usize::from(*low));
        let Some(segment) = segment else { return TRUNCATED };
        match marker {
            0xc0 | 0xc1 => {
                let factors: Vec<u8> = segment.get(6..).unwrap_or_default().chunks_exact(3).map(|c| c[1]).collect();
                let subsampled = factors.iter().any(|factor| *factor != factors[0]);
                baseline_components = if subsampled { factors.len() } else { 0 };
            }
            0xda if segment.first().is_some_and(|scan| usize::from(*scan) < baseline_components) => {
                return Some(
                    "it is a baseline JPEG whose subsampled components are in scans of their own, which can't be decoded",
                );
            }
            _ => {}
        }
        at += 2 + segment.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
        [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
    }

    /// A picture of three components with these sampling factors, in scans of so many of them, with data between and behind.
    fn picture(frame: u8, factors: [u8; 3], scan: u8) -> Vec<u8> {
        let components: Vec<u8> = (1u8..).zip(factors).flat_map(|(id, factor)| [id, factor, 0]).collect();
        let frame = segment(frame, &[&[8, 0, 9, 0, 9, 3][..], &components].concat());
        let scans =
            (0..3 / scan).flat_map(|_| [segment(0xda, &[scan, 1, 2, 3]), vec![7, 0xff, 0, 0xff, 0xd3, 9]].concat());
        let thumbnail = segment(0xe1, &[0xff, 0xd8, 0xff, 0xda, 0xff, 0xd9]);
        [&[0xff, 0xd8][..], &thumbnail, &frame, &scans.collect::<Vec<u8>>(), &[0xff, 0xff, 0xd9]].concat()
    }

    #[test]
    fn a_picture_ends_where_it_ends() {
        let whole = picture(0xc0, [0x22, 0x11, 0x11], 3);
        assert_eq!(refusal(&whole), None);
        for behind in [&[0xff, 0xda, 1, 2][..], &[0; 9], &picture(0xc2, [0x11; 3], 1)] {
            assert_eq!(refusal(&[&whole, behind].concat()), None);
        }
        for end in 2..whole.len() - 1 {
            assert!(refusal(&whole[..end]).unwrap().contains("truncated"), "{end}");
        }
    }

    #[test]
    fn separate_scans_are_refused_where_they_are_decoded_wrongly() {
        assert!(refusal(&picture(0xc0, [0x22, 0x11, 0x11], 1)).unwrap().contains("scans of their own"));
        for (frame, factors, scan) in
            [(0xc0, [0x11; 3], 1), (0xc2, [0x22, 0x11, 0x11], 1), (0xc0, [0x21, 0x11, 0x11], 3)]
        {
            assert_eq!(refusal(&picture(frame, factors, scan)), None, "{frame:x} {factors:?} {scan}");
        }
    }
}
