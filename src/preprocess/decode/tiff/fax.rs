//! The fax codes: Huffman (CCITT RLE), Group 3 in one and two dimensions, and Group 4. The codes come from the crate `fax`; what is
//! done with damaged lines, missing ends of lines and early ends of the data is what libtiff does, because Pillow shows that.

use fax::maps::{Mode, black, mode, white};

use super::bits::Bits;
use crate::preprocess::decode::decoded::Refusal;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Runs only; every line begins at a byte.
    Huffman,
    /// Runs, with a mark at each line's beginning.
    Group3,
    /// The same, but a bit after the mark says whether the line is stored as changes of the line above.
    Group3TwoDimensions,
    /// Every line is stored as changes of the line above.
    Group4,
}

/// Decodes so many rows: one bit a pixel, 1 is black, every row in bytes of its own.
pub fn decode(data: &[u8], scheme: Scheme, width: usize, rows: usize) -> Result<Vec<u8>, Refusal> {
    let width = u32::try_from(width)
        .ok()
        .filter(|width| *width < 1 << 30)
        .ok_or("it is a TIFF with lines that are too long")?;
    let mut bits = vec![0; (width as usize).div_ceil(8) * rows];
    let mut lines = Lines { reader: Bits { data, at: 0, end: 8 * data.len() }, mark_read: false, without_marks: false };
    let mut above = Line::white(width);
    for (number, row) in bits.chunks_exact_mut((width as usize).div_ceil(8)).enumerate() {
        let mut line = Line::default();
        let end = match scheme {
            Scheme::Huffman => lines.runs(&mut line, width),
            Scheme::Group3 => lines.skip_to_mark().and_then(|()| lines.runs(&mut line, width)),
            Scheme::Group3TwoDimensions => lines.skip_to_mark().and_then(|()| match lines.bit()? {
                true => lines.runs(&mut line, width),
                false => lines.changes(&mut line, &above, width),
            }),
            Scheme::Group4 => lines.changes(&mut line, &above, width),
        };
        line.finish(width);
        line.draw(row);
        match (scheme, end) {
            // Group 4 may end early: with its mark, or with its data.
            (Scheme::Group4, Err(Stop::End)) if number > 0 => break,
            (Scheme::Group4, Ok(())) if lines.mark_read && number > 0 => break,
            (_, Err(Stop::End)) => return Err("the fax-compressed data of the TIFF ends too early".into()),
            (Scheme::Group4, Ok(())) if lines.mark_read => {
                return Err("the fax-compressed data of the TIFF is damaged".into());
            }
            (_, Err(Stop::Unreadable)) => {
                return Err(
                    "the fax-compressed data of the TIFF is damaged or has uncompressed lines, which can't be decoded"
                        .into(),
                );
            }
            _ => {}
        }
        if scheme == Scheme::Huffman {
            lines.reader.align();
        }
        above = line;
    }
    Ok(bits)
}

/// Why a line ends before its last pixel, other than by a code that is none.
enum Stop {
    /// There is no more data.
    End,
    /// What follows can't be read.
    Unreadable,
}

/// One line: the lengths of its runs, white and black in turn.
#[derive(Default)]
struct Line {
    runs: Vec<u32>,
    /// Where the last run ends.
    at: u32,
    /// The beginning of the next run, if part of it was read.
    begun: u32,
}

impl Line {
    fn white(width: u32) -> Line {
        Line { runs: vec![width], at: width, begun: 0 }
    }

    /// Makes a run longer that has not ended yet.
    fn lengthen(&mut self, by: u32) {
        self.begun = self.begun.saturating_add(by);
        self.at = self.at.saturating_add(by);
    }

    /// Ends a run.
    fn end_run(&mut self, by: u32) {
        self.lengthen(by);
        self.runs.push(std::mem::take(&mut self.begun));
    }

    /// Makes the line exactly as long as it must be: runs that are too many are dropped, missing pixels are white.
    fn finish(&mut self, width: u32) {
        if self.begun > 0 {
            self.end_run(0);
        }
        while self.at > width {
            let Some(run) = self.runs.pop() else { break };
            self.at = self.at.saturating_sub(run);
        }
        if self.at < width {
            if self.runs.len() % 2 == 1 {
                self.end_run(0);
            }
            self.end_run(width - self.at);
        }
    }

    /// The places where the colour changes, after a 0.
    fn changes(&self) -> Vec<u32> {
        let mut at = 0;
        let ends = self.runs.iter().map(|run| {
            at += run;
            at
        });
        std::iter::once(0).chain(ends).collect()
    }

    fn draw(&self, row: &mut [u8]) {
        let mut at = 0;
        for (i, run) in self.runs.iter().enumerate() {
            let end = at + *run as usize;
            if i % 2 == 1 {
                fill(row, at, end);
            }
            at = end;
        }
    }
}

/// Sets the bits from one place to another.
fn fill(row: &mut [u8], from: usize, to: usize) {
    if from >= to {
        return;
    }
    let (first, last) = (from / 8, (to - 1) / 8);
    let (start, end) = (0xffu8 >> (from % 8), 0xffu8 << (7 - (to - 1) % 8));
    if first == last {
        row[first] |= start & end;
    } else {
        row[first] |= start;
        row[first + 1..last].fill(0xff);
        row[last] |= end;
    }
}

/// Reads line after line.
struct Lines<'a> {
    reader: Bits<'a>,
    /// Whether the mark before a line, or at the data's end, was just read.
    mark_read: bool,
    /// Whether it turned out that there are no marks.
    without_marks: bool,
}

impl Lines<'_> {
    fn bit(&mut self) -> Result<bool, Stop> {
        if !self.reader.has_some_of(1) {
            return Err(Stop::End);
        }
        let bit = self.reader.next(1) == 1;
        self.reader.skip(1);
        Ok(bit)
    }

    /// Goes to the end of the next mark: at least eleven zeros and a one. If there is none, lines are read without marks, from the start.
    fn skip_to_mark(&mut self) -> Result<(), Stop> {
        if self.without_marks {
            return Ok(());
        }
        while !self.mark_read {
            if !self.reader.has_some_of(11) {
                return Err(Stop::End);
            }
            match self.reader.next(11) {
                0 => self.mark_read = true,
                _ => self.reader.skip(1),
            }
        }
        self.mark_read = false;
        while self.reader.has_some_of(8) {
            let next = self.reader.next(8) as u8;
            if next > 0 {
                self.reader.skip(next.leading_zeros() as usize + 1);
                return Ok(());
            }
            self.reader.skip(8);
        }
        self.without_marks = true;
        self.reader.at = 0;
        self.reader.end = 8 * self.reader.data.len();
        Ok(())
    }

    /// Reads one run of this colour. Gives false where there is no run but a mark or something unknown.
    fn run(&mut self, line: &mut Line, is_black: bool) -> Result<bool, Stop> {
        loop {
            if !self.reader.has_some_of(if is_black { 13 } else { 12 }) {
                return Err(Stop::End);
            }
            if self.reader.next(11) == 0 {
                self.reader.skip(11);
                self.mark_read = true;
                return Ok(false);
            }
            let mut after = self.reader;
            let run = if is_black { black::decode(&mut after) } else { white::decode(&mut after) };
            let Some(run) = run else { return Ok(false) };
            self.reader = after;
            if run < 64 {
                line.end_run(run.into());
                return Ok(true);
            }
            line.lengthen(run.into());
        }
    }

    /// A line as runs.
    fn runs(&mut self, line: &mut Line, width: u32) -> Result<(), Stop> {
        loop {
            for is_black in [false, true] {
                if !self.run(line, is_black)? || line.at >= width {
                    return Ok(());
                }
            }
            // Empty runs say nothing.
            if let [.., 0, 0] = line.runs[..] {
                line.runs.truncate(line.runs.len() - 2);
            }
        }
    }

    /// A line as changes of the one above.
    fn changes(&mut self, line: &mut Line, above: &Line, width: u32) -> Result<(), Stop> {
        let changes = above.changes();
        let place = |index: usize| changes.get(index).copied().unwrap_or(width).min(width);
        // The change above that the next code refers to.
        let mut index = 1;
        while line.at < width {
            if line.runs.len() > 2 * width as usize + 64 {
                return Err(Stop::Unreadable);
            }
            if !self.reader.has_some_of(7) {
                return Err(Stop::End);
            }
            // Seven zeros begin the mark of the end.
            if self.reader.next(7) == 0 {
                self.reader.skip(11);
                self.mark_read = true;
                return Ok(());
            }
            let mut after = self.reader;
            let Some(code) = mode::decode(&mut after) else { return Ok(()) };
            self.reader = after;
            if !matches!(code, Mode::Horizontal) && (!line.runs.is_empty() || line.begun != 0) {
                while place(index) <= line.at && place(index) < width {
                    index += 2;
                }
            }
            match code {
                Mode::Pass => {
                    line.lengthen(place(index + 1).saturating_sub(line.at));
                    index += 2;
                }
                Mode::Horizontal => {
                    let first_is_black = line.runs.len() % 2 == 1;
                    if !self.run(line, first_is_black)? || !self.run(line, !first_is_black)? {
                        return Ok(());
                    }
                }
                Mode::Vertical(by) => {
                    let Some(to) = place(index).checked_add_signed(by.into()).filter(|to| *to >= line.at) else {
                        return Ok(());
                    };
                    line.end_run(to - line.at);
                    index = if by < 0 { index.saturating_sub(1) } else { index + 1 };
                }
                Mode::Extension | Mode::EOF => return Err(Stop::Unreadable),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bits as they are written in the tables of codes.
    fn bits(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').map(|digit| digit - b'0').collect();
        digits.chunks(8).map(|byte| byte.iter().enumerate().map(|(i, bit)| bit << (7 - i)).sum()).collect()
    }

    // Two lines of eight pixels: three white, two black, three white; and all white.
    const RUNS: [&str; 2] = ["1000 11 1000", "10011"];

    #[test]
    fn lines_of_runs_begin_at_bytes() {
        let data = [bits(RUNS[0]), bits(RUNS[1])].concat();
        assert_eq!(decode(&data, Scheme::Huffman, 8, 2).unwrap(), [0b0001_1000, 0]);
        assert!(decode(&data, Scheme::Huffman, 8, 3).is_err());
    }

    #[test]
    fn marks_begin_lines_or_are_missing() {
        let mark = "000000000001";
        let marked = bits(&format!("{mark}{}0000{mark}{}{mark}", RUNS[0], RUNS[1]));
        assert_eq!(decode(&marked, Scheme::Group3, 8, 2).unwrap(), [0b0001_1000, 0]);
        let unmarked = bits(&RUNS.concat());
        assert_eq!(decode(&unmarked, Scheme::Group3, 8, 2).unwrap(), [0b0001_1000, 0]);
        // A line of runs, and one whose changes are one further to the right.
        let mixed = bits(&format!("{mark}1{}{mark}0 011 011 1 {mark}", RUNS[0]));
        assert_eq!(decode(&mixed, Scheme::Group3TwoDimensions, 8, 2).unwrap(), [0b0001_1000, 0b0000_1100]);
    }

    #[test]
    fn group_4_changes_lines_and_may_end_early() {
        // Horizontal: three white, two black; then the line is white to its end. Two vertical changes. The end.
        let data = bits("001 1000 11 1 010 1 1 000000000001000000000001");
        assert_eq!(decode(&data, Scheme::Group4, 8, 2).unwrap(), [0b0001_1000, 0b0011_1000]);
        assert_eq!(decode(&data, Scheme::Group4, 8, 4).unwrap(), [0b0001_1000, 0b0011_1000, 0, 0]);
        assert!(decode(&[], Scheme::Group4, 8, 1).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200), width in 1usize..300, rows in 1usize..20) {
            for scheme in [Scheme::Huffman, Scheme::Group3, Scheme::Group3TwoDimensions, Scheme::Group4] {
                if let Ok(bits) = decode(&data, scheme, width, rows) {
                    prop_assert_eq!(bits.len(), width.div_ceil(8) * rows);
                }
            }
        }
    }
}
