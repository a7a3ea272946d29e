//! Colours of a JPEG's samples.

use super::markers::Colours;

/// RGB bytes of samples that are stored this way.
pub fn rgb(mut samples: Vec<u8>, colours: Colours) -> Vec<u8> {
    match colours {
        Colours::Grey => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        Colours::Rgb => samples,
        Colours::YCbCr => {
            for pixel in samples.as_chunks_mut().0 {
                *pixel = from_differences(*pixel);
            }
            samples
        }
        Colours::Cmyk => samples.as_chunks().0.iter().flat_map(|[c, m, y, k]| from_inks([*c, *m, *y], *k)).collect(),
        Colours::Ycck => {
            let inks = |[y, cb, cr, k]: &[u8; 4]| from_inks(from_differences([*y, *cb, *cr]).map(|c| 255 - c), *k);
            samples.as_chunks().0.iter().flat_map(inks).collect()
        }
    }
}

/// RGB of luminance and colour differences (JFIF), in 16-bit fixed point.
fn from_differences([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = [i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128];
    const HALF: i32 = 1 << 15;
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|colour| colour.clamp(0, 255) as u8)
}

/// RGB of inverted inks, as Pillow converts them: the white that black leaves, less each ink's share of it.
fn from_inks(inks: [u8; 3], black: u8) -> [u8; 3] {
    inks.map(|ink| {
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        black.saturating_sub(((product + (product >> 8)) >> 8) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_each_space_are_right() {
        assert_eq!(rgb(vec![7], Colours::Grey), [7; 3]);
        assert_eq!(rgb(vec![76, 85, 255, 255, 128, 128], Colours::YCbCr), [254, 0, 0, 255, 255, 255]);
        assert_eq!(rgb(vec![255, 0, 255, 100, 9, 9, 9, 0], Colours::Cmyk), [100, 0, 100, 0, 0, 0]);
        assert_eq!(rgb(vec![0, 128, 128, 200], Colours::Ycck), [200; 3]);
    }
}
