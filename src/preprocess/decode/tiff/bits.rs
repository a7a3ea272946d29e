//! Single bits of coded lines.

use fax::BitReader;

/// Bits from the highest of each byte.
#[derive(Clone, Copy)]
pub struct Bits<'a> {
    pub data: &'a [u8],
    /// The next bit.
    pub at: usize,
    /// Where the bits end.
    pub end: usize,
}

impl Bits<'_> {
    /// Says whether there are more bits. If there are some, but fewer than this, zeros follow them.
    pub fn has_some_of(&mut self, count: usize) -> bool {
        let some = self.at < self.end;
        if some {
            self.end = self.end.max(self.at + count);
        }
        some
    }

    /// The next bits, up to 16.
    pub fn next(&self, count: u8) -> u16 {
        let byte = |i: usize| u32::from(self.data.get(self.at / 8 + i).copied().unwrap_or(0));
        let window = byte(0) << 16 | byte(1) << 8 | byte(2);
        let shift = 24 - self.at % 8 - usize::from(count);
        ((window >> shift) & ((1 << count) - 1)) as u16
    }

    /// Goes on by so many bits.
    pub fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Goes on to the next byte, counted from the end.
    pub fn align(&mut self) {
        self.at = self.end - self.end.saturating_sub(self.at) / 8 * 8;
    }
}

impl BitReader for Bits<'_> {
    type Error = ();

    fn peek(&self, bits: u8) -> Option<u16> {
        Some(self.next(bits))
    }

    fn consume(&mut self, bits: u8) -> Result<(), ()> {
        self.skip(usize::from(bits));
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        ((8 - self.at % 8) % 8) as u8
    }
}
