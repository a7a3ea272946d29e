//! Where a picture's strips or tiles lie in the file, and what part of the picture each one is.

use super::directory::{Directory, Numbers, tag};
use crate::preprocess::decode::decoded::Refusal;

/// The blocks (strips or tiles) that a picture is cut into.
pub struct Layout<'a> {
    /// Width of the picture.
    pub width: usize,
    /// Height of the picture.
    pub height: usize,
    /// Width of every block. A tile may reach beyond the picture.
    pub block_width: usize,
    /// Height of every block; the last strip ends with the picture, a tile may reach beyond it.
    pub block_height: usize,
    /// Whether the blocks are tiles.
    pub tiled: bool,
    /// Whether each sample has blocks of its own.
    pub planar: bool,
    offsets: Numbers<'a>,
    counts: Option<Numbers<'a>>,
}

/// One block of the picture.
#[derive(Clone, Copy)]
pub struct Block {
    /// Which one it is, of its plane.
    pub index: usize,
    /// Its first column.
    pub x: usize,
    /// Its first row.
    pub y: usize,
    /// The rows that it stores.
    pub rows: usize,
}

impl<'a> Layout<'a> {
    /// What the directory says. `stored` says whether the samples are stored as they are, where Pillow reads the tags itself.
    pub fn read(directory: &Directory<'a>, width: usize, height: usize, stored: bool) -> Result<Layout<'a>, Refusal> {
        let planar = directory.number(tag::PLANAR_CONFIGURATION) == Some(2);
        let size = |tag| match directory.number(tag).map(usize::try_from) {
            Some(Ok(size)) if size > 0 => Ok(size),
            _ => Err(Refusal::from("it is a TIFF whose tiles or strips have no valid size")),
        };
        let tiled = if stored { !directory.has(tag::STRIP_OFFSETS) } else { directory.has(tag::TILE_WIDTH) };
        let (block_width, block_height) = if tiled {
            (size(tag::TILE_WIDTH)?, size(tag::TILE_HEIGHT)?)
        } else if directory.has(tag::ROWS_PER_STRIP) {
            (width, size(tag::ROWS_PER_STRIP)?.min(height))
        } else {
            (width, height)
        };
        // A tile may be larger than a small picture, but not by any amount.
        let most = width.saturating_mul(height).saturating_mul(16).saturating_add(1 << 22);
        if block_width.checked_mul(block_height).is_none_or(|pixels| pixels > most) {
            return Err("it is a TIFF whose tiles are much larger than its picture".into());
        }
        let offsets = directory.numbers(tag::TILE_OFFSETS).filter(|_| tiled);
        let offsets = offsets.or_else(|| directory.numbers(tag::STRIP_OFFSETS));
        let Some(offsets) = offsets else {
            return Err("it is a TIFF that does not say where its pixels are".into());
        };
        let counts = directory.numbers(tag::TILE_BYTE_COUNTS).filter(|_| tiled);
        let counts = counts.or_else(|| directory.numbers(tag::STRIP_BYTE_COUNTS));
        Ok(Layout { width, height, block_width, block_height, tiled, planar, offsets, counts })
    }

    fn across(&self) -> usize {
        self.width.div_ceil(self.block_width)
    }

    /// How many blocks a plane has.
    pub fn per_plane(&self) -> usize {
        self.across() * self.height.div_ceil(self.block_height)
    }

    /// Whether one block is the whole picture: then Pillow takes the last offset, however many there are.
    fn is_whole(&self) -> bool {
        self.block_width == self.width && self.block_height == self.height && !self.planar
    }

    /// Whether the file has the blocks of so many planes, and no others.
    pub fn has_planes(&self, planes: usize) -> bool {
        self.is_whole() || self.offsets.len() == planes * self.per_plane()
    }

    /// The blocks of one plane, row by row.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + use<'_, 'a> {
        let across = self.across();
        (0..self.per_plane()).map(move |index| {
            let (x, y) = (index % across * self.block_width, index / across * self.block_height);
            let rows = if self.tiled { self.block_height } else { self.block_height.min(self.height - y) };
            Block { index, x, y, rows }
        })
    }

    /// Where the stored samples of a block begin.
    pub fn start(&self, block: Block, plane: usize) -> Option<usize> {
        let index =
            if self.is_whole() { self.offsets.len().checked_sub(1)? } else { plane * self.per_plane() + block.index };
        usize::try_from(self.offsets.get(index)?).ok()
    }

    /// The compressed bytes of a block. Without a tag for their number they reach to the next block or the file's end. A single
    /// block whose number is 0 reaches to the file's end.
    pub fn compressed(&self, file: &'a [u8], block: Block, plane: usize) -> Result<&'a [u8], Refusal> {
        let index = plane * self.per_plane() + block.index;
        let start = self.offsets.get(index).and_then(|start| usize::try_from(start).ok());
        let stated = self.counts.and_then(|counts| counts.get(index)).and_then(|count| usize::try_from(count).ok());
        let only = self.per_plane() == 1 && !self.planar;
        let count = match (self.counts.is_some(), stated) {
            (true, Some(0)) if only => start.map(|start| file.len().saturating_sub(start)),
            (true, stated) => stated,
            (false, _) => start.map(|start| {
                let next = self.offsets.get(index + 1).and_then(|next| usize::try_from(next).ok());
                next.filter(|next| *next > start).unwrap_or(file.len()).saturating_sub(start)
            }),
        };
        let (Some(start), Some(count @ 1..)) = (start, count) else {
            return Err("it is a TIFF that does not say where all of its pixels are".into());
        };
        let bytes = start.checked_add(count).and_then(|end| file.get(start..end));
        bytes.ok_or_else(|| "the TIFF is truncated: its compressed data reaches beyond the file's end".into())
    }
}
