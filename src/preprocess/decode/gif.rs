//! The first frame of a GIF on its screen, as Pillow shows it.

/// What surrounds a first frame that is smaller than the screen.
#[derive(Debug, PartialEq, Eq)]
pub struct Surround {
    /// Left, top, width and height of the frame, in pixels.
    pub frame: [usize; 4],
    /// The transparent colour, or the palette's first.
    pub colour: [u8; 3],
}

/// Reads it from a file's bytes; `None` if the frame fills the screen, or if what is needed is not there.
pub fn surround(bytes: &[u8]) -> Option<Surround> {
    let two = |at: usize| Some(usize::from(u16::from_le_bytes(*bytes.get(at..at + 2)?.first_chunk()?)));
    // A table of colours that flags announce, and where it ends.
    let table = |flags: u8, at: usize| match flags & 0x80 {
        0 => (None, at),
        _ => {
            let end = at + (3 << (1 + (flags & 7)));
            (bytes.get(at..end), end)
        }
    };
    let screen = [two(6)?, two(8)?];
    let (global, mut at) = table(*bytes.get(10)?, 13);
    let mut transparent = None;
    loop {
        match *bytes.get(at)? {
            0x21 => {
                if bytes.get(at + 1) == Some(&0xf9) && bytes.get(at + 3)? & 1 == 1 {
                    transparent = bytes.get(at + 6).copied();
                }
                at += 2;
                while let length @ 1.. = usize::from(*bytes.get(at)?) {
                    at += 1 + length;
                }
                at += 1;
            }
            0x2c => {
                let frame = [two(at + 1)?, two(at + 3)?, two(at + 5)?, two(at + 7)?];
                let (local, _) = table(*bytes.get(at + 9)?, at + 10);
                let first = 3 * usize::from(transparent.unwrap_or(0));
                let colour = *local.or(global)?.get(first..)?.first_chunk()?;
                let fills = frame[..2] == [0, 0] && frame[2] >= screen[0] && frame[3] >= screen[1];
                return (!fills).then_some(Surround { frame, colour });
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A screen of 9x7 with colours 0 to 3, a comment, and a frame at (2, 1) of this size.
    fn file(transparent: Option<u8>, local: bool, width: u8, height: u8) -> Vec<u8> {
        let mut file = b"GIF89a\x09\0\x07\0\x81\0\0".to_vec();
        file.extend((0..12).map(|i| 10 * i));
        file.extend(b"\x21\xfe\x03abc\0");
        file.extend([0x21, 0xf9, 4, u8::from(transparent.is_some()), 0, 0, transparent.unwrap_or(9), 0]);
        file.extend([0x2c, 2, 0, 1, 0, width, 0, height, 0, if local { 0x80 } else { 0 }]);
        if local {
            file.extend([1, 2, 3, 4, 5, 6]);
        }
        file
    }

    #[test]
    fn the_colour_is_the_transparent_one_or_the_first() {
        let frame = [2, 1, 4, 3];
        let of = |transparent, local| surround(&file(transparent, local, 4, 3));
        assert_eq!(of(None, false), Some(Surround { frame, colour: [0, 10, 20] }));
        assert_eq!(of(Some(2), false), Some(Surround { frame, colour: [60, 70, 80] }));
        assert_eq!(of(Some(1), true), Some(Surround { frame, colour: [4, 5, 6] }));
        assert_eq!(of(Some(3), true), None);
        let mut whole = file(None, false, 9, 7);
        let at = whole.len() - 9;
        whole[at..at + 4].fill(0);
        assert_eq!(surround(&whole), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(cut in 0usize..60, at in 0usize..60, byte in any::<u8>()) {
            let mut file = file(Some(1), true, 4, 3);
            let at = at % file.len();
            file[at] = byte;
            file.truncate(cut.max(1));
            let _ = surround(&file);
        }
    }
}
