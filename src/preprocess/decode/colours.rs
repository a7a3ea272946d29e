//! Spaces of colours that several formats store, to RGB as Pillow converts them.

/// RGB of luminance and colour differences, as JFIF has them, in 16-bit fixed point.
pub fn from_differences([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = [i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128];
    const HALF: i32 = 1 << 15;
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|colour| colour.clamp(0, 255) as u8)
}

/// RGB of inks (CMYK): the white that black leaves, less each ink's share of it.
pub fn from_inks(inks: [u8; 3], black: u8) -> [u8; 3] {
    let white = 255 - black;
    inks.map(|ink| {
        let product = u32::from(ink) * u32::from(white) + 128;
        white.saturating_sub(((product + (product >> 8)) >> 8) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_grey_and_colours_are_clipped() {
        for luma in [0, 1, 127, 255] {
            assert_eq!(from_differences([luma, 128, 128]), [luma; 3]);
        }
        assert_eq!(from_differences([255, 255, 255]), [255, 121, 255]);
        assert_eq!(from_differences([76, 85, 255]), [254, 0, 0]);
    }

    #[test]
    fn black_leaves_less_white_for_inks() {
        assert_eq!(from_inks([0, 255, 0], 155), [100, 0, 100]);
        assert_eq!(from_inks([246; 3], 255), [0; 3]);
        assert_eq!(from_inks([0; 3], 0), [255; 3]);
    }
}
