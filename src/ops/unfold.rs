//! Cuts an image into patches, one row per patch, in the order of a convolution's weights (c, y, x).

use super::{Data, Operands, positive, product};

/// The form in which pixels are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelSource {
    /// `u8`, `[B, H, W, C]`; each value is looked up in a table `[C, 256]` that holds the model's own normalisation.
    Bytes,
    /// `f32`, `[B, C, H, W]`, already normalised.
    Planes,
}

/// `y[b, patch, (c, py, px)] = pixel(b, c, y·P + py, x·P + px)`; rows and columns beyond the last whole patch are left out.
///
/// Operands: pixels, then the table for [`PixelSource::Bytes`]; output `[B, N, C·P·P]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfold {
    /// Number of images (B).
    pub batch: usize,
    /// Number of channels (C).
    pub chans: usize,
    /// Image height and width in pixels.
    pub size: (usize, usize),
    /// Patch height and width.
    pub patch: (usize, usize),
    /// Whether pixels are bytes or normalised floats.
    pub source: PixelSource,
}

impl Unfold {
    /// Patches per column and per row.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        let along = |size: usize, patch: usize| size.checked_div(patch).unwrap_or(0);
        (along(self.size.0, self.patch.0), along(self.size.1, self.patch.1))
    }

    pub(super) fn valid(&self) -> Result<(), String> {
        let ((h, w), (ph, pw)) = (self.size, self.patch);
        positive(&[("batch", self.batch), ("chans", self.chans), ("patch", ph.min(pw))])?;
        if ph > h || pw > w {
            return Err(format!("patches of {ph}x{pw} in an image of {h}x{w}"));
        }
        Ok(())
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        let pixels = product(&[self.batch, self.chans, self.size.0, self.size.1]);
        match self.source {
            PixelSource::Bytes => vec![Some(pixels), Some(product(&[self.chans, 256]))],
            PixelSource::Planes => vec![Some(pixels)],
        }
    }

    pub(super) fn output_len(&self) -> usize {
        let (gh, gw) = self.grid();
        product(&[self.batch, gh, gw, self.chans, self.patch.0, self.patch.1])
    }

    pub(super) fn flop(&self) -> f64 {
        0.0
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let (gh, gw) = self.grid();
        let ((h, w), (ph, pw), chans) = (self.size, self.patch, self.chans);
        let (planes, bytes) = operands[0].map_or((&[][..], &[][..]), |pixels| (pixels.f32(), pixels.u8()));
        let table = operands.get(1).copied().flatten().map_or(&[][..], Data::f32);
        let mut at = out.iter_mut();
        for b in 0..self.batch {
            for patch in 0..gh * gw {
                let (top, left) = (patch / gw * ph, patch % gw * pw);
                for c in 0..chans {
                    for y in top..top + ph {
                        for x in left..left + pw {
                            let value = match self.source {
                                PixelSource::Bytes => {
                                    table[c * 256 + usize::from(bytes[((b * h + y) * w + x) * chans + c])]
                                }
                                PixelSource::Planes => planes[((b * chans + c) * h + y) * w + x],
                            };
                            if let Some(out) = at.next() {
                                *out = value;
                            }
                        }
                    }
                }
            }
        }
    }
}
