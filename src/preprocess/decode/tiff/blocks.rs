//! The samples of a strip or tile, expanded, with those of a pixel side by side.

use std::borrow::Cow;
use std::cell::Cell;

use super::codec::{Codec, expand};
use super::directory::{Directory, tag};
use super::fax;
use super::jpeg;
use super::kind::{Colour, Kind};
use super::layout::{Block, Layout};
use super::predictor::Predictor;
use super::ycbcr::Subsampling;
use crate::preprocess::decode::colours::from_differences;
use crate::preprocess::decode::decoded::Refusal;

/// What reads a picture's blocks.
pub struct Reader<'a> {
    pub directory: &'a Directory<'a>,
    pub layout: &'a Layout<'a>,
    pub kind: Kind,
    pub codec: Codec,
    pub predictor: Predictor,
    /// How the chromas of a compressed YCbCr picture are stored.
    pub subsampling: Option<Subsampling>,
    /// Whether each byte has its bits in reverse order.
    pub reversed: bool,
    /// How many bytes may still be expanded.
    pub budget: Cell<usize>,
}

impl<'a> Reader<'a> {
    /// How many planes are read.
    pub fn planes(&self) -> usize {
        if self.layout.planar { self.kind.bands() } else { 1 }
    }

    /// Bytes of a row of one plane.
    fn plane_row_bytes(&self) -> Result<usize, Refusal> {
        let samples = if self.layout.planar { 1 } else { self.kind.samples };
        let bits = self.layout.block_width.checked_mul(samples * self.kind.bits);
        bits.map(|bits| bits.div_ceil(8)).ok_or_else(|| "it is a TIFF whose rows are too long".into())
    }

    /// Bytes of a row of a block that [`Reader::block`] gives.
    pub fn row_bytes(&self) -> Result<usize, Refusal> {
        Ok(self.plane_row_bytes()? * self.planes())
    }

    /// The samples of a block. Those of planes are put side by side.
    pub fn block(&self, block: Block) -> Result<Cow<'a, [u8]>, Refusal> {
        let planes = self.planes();
        if planes == 1 {
            return self.plane(block, 0);
        }
        let size = self.kind.bits / 8;
        let mut all = Vec::new();
        for plane in 0..planes {
            let samples = self.plane(block, plane)?;
            all.resize(samples.len() * planes, 0);
            for (pixel, sample) in all.chunks_exact_mut(planes * size).zip(samples.chunks_exact(size)) {
                pixel[plane * size..][..size].copy_from_slice(sample);
            }
        }
        Ok(Cow::Owned(all))
    }

    /// The samples of one plane of a block.
    fn plane(&self, block: Block, plane: usize) -> Result<Cow<'a, [u8]>, Refusal> {
        let row_bytes = self.plane_row_bytes()?;
        let reverse = |data: &'a [u8]| match self.reversed {
            true => Cow::Owned(data.iter().map(|byte| byte.reverse_bits()).collect()),
            false => Cow::Borrowed(data),
        };
        let (file, layout) = (self.directory.file, self.layout);
        if self.codec == Codec::Stored {
            // A tile's rows beyond the picture's end are not needed.
            let rows = block.rows.min(layout.height - block.y);
            let stored = layout.start(block, plane).and_then(|start| {
                let size = row_bytes.checked_mul(rows)?;
                file.get(start..start.checked_add(size)?)
            });
            return stored
                .map(reverse)
                .ok_or_else(|| "the TIFF is truncated: its pixels reach beyond the file's end".into());
        }
        let data = layout.compressed(file, block, plane)?;
        let tables = self.directory.bytes(tag::JPEG_TABLES).filter(|_| self.codec == Codec::Jpeg);
        let left = self.budget.get().checked_sub(data.len() + tables.map_or(0, <[u8]>::len));
        self.budget.set(left.ok_or("it is a TIFF whose tiles or strips have the same data too often")?);
        let (width, samples) = (layout.block_width, if layout.planar { 1 } else { self.kind.samples });
        let rows = block.rows;
        if let Some(subsampling) = self.subsampling {
            let stored = subsampling.row_bytes(width).ok_or("it is a TIFF whose rows are too long")?;
            let groups = expand(self.codec, &reverse(data), stored, rows.div_ceil(subsampling.down))?;
            let pixel = |i| subsampling.pixel(&groups, stored, i % width, i / width);
            return Ok(Cow::Owned((0..width * rows).flat_map(pixel).collect()));
        }
        let mut bytes = match self.codec {
            Codec::Fax(scheme) => fax::decode(&reverse(data), scheme, width, rows)?,
            Codec::Jpeg => {
                let last_strip = !layout.tiled && block.y + block.rows == layout.height;
                let to_rgb = self.kind.colour == Colour::YCbCr && !layout.planar;
                let wanted = jpeg::Wanted { width, rows, samples, subsampled: to_rgb, may_be_taller: last_strip };
                let mut pixels = jpeg::decode(tables, data, &wanted)?;
                if to_rgb {
                    let (pixels, _) = pixels.as_chunks_mut::<3>();
                    pixels.iter_mut().for_each(|pixel| *pixel = from_differences(*pixel));
                }
                pixels
            }
            codec => expand(codec, &reverse(data), row_bytes, rows)?,
        };
        self.predictor.undo(&mut bytes, row_bytes, samples, self.kind.bits, self.directory.little);
        Ok(Cow::Owned(bytes))
    }
}
