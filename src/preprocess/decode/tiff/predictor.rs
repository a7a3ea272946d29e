//! Undoes the predictors: samples stored as differences from the sample on their left.

use super::kind::{Colour, Kind, Number};
use crate::preprocess::decode::decoded::Refusal;

/// What was done to the samples before they were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predictor {
    /// Nothing.
    None,
    /// Each sample is the difference from that of the pixel on its left.
    Horizontal,
    /// The bytes of a row's floats are sorted by significance; then each byte is the difference from the byte before.
    Floating,
}

impl Predictor {
    /// The predictor of that number, if samples of this kind can have it.
    pub fn of(number: u64, kind: &Kind) -> Result<Predictor, Refusal> {
        match number {
            1 => Ok(Predictor::None),
            2 if matches!(kind.bits, 8 | 16 | 32) => Ok(Predictor::Horizontal),
            3 if kind.colour == Colour::Clipped(Number::Float) => Ok(Predictor::Floating),
            _ => Err(format!(
                "it is a TIFF with samples of {} bits stored by predictor {number}, which can't be decoded",
                kind.bits
            )
            .into()),
        }
    }

    /// Undoes it in a block of rows, whose pixels have so many samples of so many bits.
    pub fn undo(self, block: &mut [u8], row_bytes: usize, samples: usize, bits: usize, little: bool) {
        match self {
            Predictor::None => {}
            Predictor::Horizontal => block.chunks_mut(row_bytes).for_each(|row| match bits {
                8 => add_bytes(row, samples),
                16 => add(row, samples, little, u16::from_le_bytes, u16::wrapping_add, u16::to_le_bytes),
                _ => add(row, samples, little, u32::from_le_bytes, u32::wrapping_add, u32::to_le_bytes),
            }),
            Predictor::Floating => block.chunks_mut(row_bytes).for_each(|row| {
                add_bytes(row, samples);
                let sorted = row.to_vec();
                let count = row.len() / 4;
                for (i, value) in row.chunks_exact_mut(4).enumerate() {
                    // The most significant bytes come first; the result has them last.
                    (0..4).for_each(|byte| value[3 - byte] = sorted[byte * count + i]);
                }
            }),
        }
    }
}

fn add_bytes(row: &mut [u8], samples: usize) {
    for i in samples..row.len() {
        row[i] = row[i].wrapping_add(row[i - samples]);
    }
}

/// Adds up samples of N bytes.
fn add<T, const N: usize>(
    row: &mut [u8],
    samples: usize,
    little: bool,
    read: impl Fn([u8; N]) -> T,
    sum: impl Fn(T, T) -> T,
    write: impl Fn(T) -> [u8; N],
) {
    let ordered = |mut bytes: [u8; N]| {
        if !little {
            bytes.reverse();
        }
        bytes
    };
    let (values, _) = row.as_chunks_mut::<N>();
    for i in samples..values.len() {
        let total = sum(read(ordered(values[i])), read(ordered(values[i - samples])));
        values[i] = ordered(write(total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_added_up_in_each_row() {
        let mut block = [1, 10, 2, 20, 255, 1, 5, 6, 1, 1, 1, 1];
        Predictor::Horizontal.undo(&mut block, 6, 2, 8, true);
        assert_eq!(block, [1, 10, 3, 30, 2, 31, 5, 6, 6, 7, 7, 8]);
        for little in [true, false] {
            let bytes = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
            let mut block = [bytes(300), bytes(500), bytes(65535)].concat();
            Predictor::Horizontal.undo(&mut block, 6, 1, 16, little);
            assert_eq!(block, [bytes(300), bytes(800), bytes(799)].concat());
        }
    }

    #[test]
    fn floats_are_put_together_from_their_sorted_bytes() {
        let values = [1.5f32, -2.25, 1e6];
        let sorted: Vec<u8> = (0..4).flat_map(|i| values.map(|value| value.to_be_bytes()[i])).collect();
        let mut row: Vec<u8> = sorted
            .iter()
            .scan(0u8, |before, byte| {
                let difference = byte.wrapping_sub(*before);
                *before = *byte;
                Some(difference)
            })
            .collect();
        Predictor::Floating.undo(&mut row, 12, 1, 32, true);
        assert_eq!(row, values.map(f32::to_le_bytes).concat());
    }
}
