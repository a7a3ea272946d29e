//! Token assembly: prefix tokens (class, distillation, registers) before the patches, position embedding added.

use super::{Operands, operand, positive, product};

/// Puts `prefix` learned tokens before each image's patches and adds the position table.
///
/// Operands: `patches [B, N, D]`, `prefix [prefix, D]?`, `pos [pos_prefix + N, D]?`; output `[B, prefix + N, D]`. The first
/// `pos_prefix` prefix tokens have a row of the table (all of them, only the class token, or none: `no_embed_class`), the
/// others are taken as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// Number of images (B).
    pub batch: usize,
    /// Number of patches (N).
    pub patches: usize,
    /// Number of channels (D).
    pub width: usize,
    /// Number of prefix tokens.
    pub prefix: usize,
    /// How many of them the position table covers.
    pub pos_prefix: usize,
    /// Whether there is a position table.
    pub pos: bool,
}

impl Tokens {
    pub(super) fn valid(&self) -> Result<(), String> {
        positive(&[("batch", self.batch), ("patches", self.patches), ("width", self.width)])?;
        if self.pos_prefix > self.prefix {
            return Err(format!("positions for {} of {} prefix tokens", self.pos_prefix, self.prefix));
        }
        Ok(())
    }

    pub(super) fn operand_lens(&self) -> Vec<Option<usize>> {
        vec![
            Some(product(&[self.batch, self.patches, self.width])),
            (self.prefix > 0).then(|| product(&[self.prefix, self.width])),
            self.pos.then(|| product(&[self.pos_prefix.saturating_add(self.patches), self.width])),
        ]
    }

    pub(super) fn output_len(&self) -> usize {
        product(&[self.batch, self.prefix.saturating_add(self.patches), self.width])
    }

    pub(super) fn flop(&self) -> f64 {
        self.output_len() as f64
    }

    pub(super) fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) {
        let (patches, prefix, pos) = (operand(operands, 0), operand(operands, 1), operand(operands, 2));
        let tokens = self.prefix + self.patches;
        for (row, out) in out.chunks_exact_mut(self.width).take(self.batch * tokens).enumerate() {
            let (b, t) = (row / tokens, row % tokens);
            let (source, pos_row) = if t < self.prefix {
                (&prefix[t * self.width..], (t < self.pos_prefix).then_some(t))
            } else {
                let patch = t - self.prefix;
                (&patches[(b * self.patches + patch) * self.width..], Some(self.pos_prefix + patch))
            };
            out.copy_from_slice(&source[..self.width]);
            if let Some(pos_row) = pos_row.filter(|_| self.pos) {
                for (y, p) in out.iter_mut().zip(&pos[pos_row * self.width..]) {
                    *y += p;
                }
            }
        }
    }
}
