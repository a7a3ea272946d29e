//! One file per operation: its parameters, its shape rule, its cost and a plain CPU implementation.
//!
//! The plain functions are the reference that shaders and faster CPU paths are checked against: sums in f64, one loop
//! after another, nothing clever. To add an operation: its file here (and its line in [`Op`]), its shader, its arm in
//! `gpu/kernels.rs`, its tests.
//!
//! Shape letters: B batch, C channels, T tokens, N patches, D width, H heads, d head width, M MLP width.

mod activation;
mod add;
mod attention;
mod glu;
mod layer_norm;
mod linear;
mod pool;
mod tokens;
mod unfold;

pub use activation::Activation;
pub use add::Add;
pub use attention::{Attention, Strides};
pub use glu::Glu;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::{Pool, PoolKind};
pub use tokens::Tokens;
pub use unfold::{PixelSource, Unfold};

use crate::error::{Error, Result};

/// The operations a graph is made of.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is documented at the struct it carries")]
pub enum Op {
    Unfold(Unfold),
    Linear(Linear),
    Tokens(Tokens),
    LayerNorm(LayerNorm),
    Attention(Attention),
    Pool(Pool),
    Glu(Glu),
    Add(Add),
}

/// What an operation costs, for predictions of time and for achieved-rate figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two.
    pub flop: f64,
    /// Bytes read and written if every tensor moves once.
    pub bytes: f64,
}

/// What a device can do at most, measured on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// f32 multiply-adds outside matrix cores, in FLOP a second (two each).
    pub fma: f64,
    /// Products of f16 with f32 sums on matrix cores, in FLOP a second, where the session uses them.
    pub matrix: Option<f64>,
    /// Bytes read plus bytes written a second by a copy larger than most caches.
    pub copy: f64,
}

/// A borrowed operand of the reference functions.
#[derive(Debug, Clone, Copy)]
pub enum Data<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Bytes: image pixels.
    U8(&'a [u8]),
}

impl<'a> Data<'a> {
    /// The floats, or an empty slice for bytes.
    #[must_use]
    pub fn f32(self) -> &'a [f32] {
        match self {
            Data::F32(values) => values,
            Data::U8(_) => &[],
        }
    }

    /// The bytes, or an empty slice for floats.
    #[must_use]
    pub fn u8(self) -> &'a [u8] {
        match self {
            Data::U8(values) => values,
            Data::F32(_) => &[],
        }
    }

    /// Element count.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Data::F32(values) => values.len(),
            Data::U8(values) => values.len(),
        }
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Operands by position; an absent optional operand is `None`.
pub type Operands<'a> = [Option<Data<'a>>];

macro_rules! each {
    ($op:expr, $inner:ident => $body:expr) => {
        match $op {
            Op::Unfold($inner) => $body,
            Op::Linear($inner) => $body,
            Op::Tokens($inner) => $body,
            Op::LayerNorm($inner) => $body,
            Op::Attention($inner) => $body,
            Op::Pool($inner) => $body,
            Op::Glu($inner) => $body,
            Op::Add($inner) => $body,
        }
    };
}

impl Op {
    /// The operation's name, as shaders and reports call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unfold(_) => "unfold",
            Op::Linear(_) => "linear",
            Op::Tokens(_) => "tokens",
            Op::LayerNorm(_) => "layer_norm",
            Op::Attention(_) => "attention",
            Op::Pool(_) => "pool",
            Op::Glu(_) => "glu",
            Op::Add(_) => "add",
        }
    }

    /// Element counts of the operands this operation reads, by position; `None` for one it does not take.
    #[must_use]
    pub fn operand_lens(&self) -> Vec<Option<usize>> {
        each!(self, op => op.operand_lens())
    }

    /// The smallest element count its output tensor may have.
    #[must_use]
    pub fn output_len(&self) -> usize {
        each!(self, op => op.output_len())
    }

    /// FLOP, and bytes where an element takes `element` of them.
    #[must_use]
    pub fn cost(&self, element: u64) -> Cost {
        let flop = each!(self, op => op.flop());
        let moved: usize = self.operand_lens().iter().flatten().sum::<usize>() + self.output_len();
        Cost { flop, bytes: element as f64 * moved as f64 }
    }

    /// Checks operand and output sizes against this operation's parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] names the operand (by position) and both sizes.
    pub fn check(&self, operands: &[Option<usize>], output: usize) -> Result<()> {
        let wanted = self.operand_lens();
        if wanted.len() != operands.len() {
            return Err(Error::shape(
                self.name(),
                format!("{} operands expected, {} given", wanted.len(), operands.len()),
            ));
        }
        for (i, (want, have)) in wanted.iter().zip(operands).enumerate() {
            let fits = match (want, have) {
                (Some(want), Some(have)) => have >= want,
                (None, None) => true,
                _ => false,
            };
            if !fits {
                return Err(Error::shape(
                    self.name(),
                    format!("operand {i}: {want:?} elements expected, {have:?} given"),
                ));
            }
        }
        if output < self.output_len() {
            return Err(Error::shape(
                self.name(),
                format!("output: {} elements expected, {output} given", self.output_len()),
            ));
        }
        Ok(())
    }

    /// Runs the plain CPU implementation.
    ///
    /// # Errors
    /// [`Error::Shape`] where an operand or the output is too short.
    pub fn reference(&self, operands: &Operands<'_>, out: &mut [f32]) -> Result<()> {
        let lens: Vec<_> = operands.iter().map(|data| data.map(Data::len)).collect();
        self.check(&lens, out.len())?;
        each!(self, op => op.reference(operands, out));
        Ok(())
    }
}

/// The operand at `position`, which [`Op::check`] has found present.
fn operand<'a>(operands: &Operands<'a>, position: usize) -> &'a [f32] {
    operands[position].map_or(&[], Data::f32)
}
