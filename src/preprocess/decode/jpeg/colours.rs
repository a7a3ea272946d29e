//! Colours of a JPEG's samples.

use super::super::colours::{from_differences, from_inks};
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
        Colours::Cmyk => {
            samples.as_chunks().0.iter().flat_map(|[c, m, y, k]| from_inverted([*c, *m, *y], *k)).collect()
        }
        Colours::Ycck => {
            let inks = |[y, cb, cr, k]: &[u8; 4]| from_inks(from_differences([*y, *cb, *cr]), 255 - *k);
            samples.as_chunks().0.iter().flat_map(inks).collect()
        }
    }
}

/// RGB of inks that are stored inverted.
fn from_inverted(inks: [u8; 3], black: u8) -> [u8; 3] {
    from_inks(inks.map(|ink| 255 - ink), 255 - black)
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
