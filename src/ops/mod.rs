//! One file per operation: its parameters, its shape rule, its cost and a plain CPU implementation.
//!
//! The plain functions are the reference that shaders and faster CPU paths are checked against: sums in f64, one loop
//! after another, without optimisation. To add an operation, add its file here and its line in [`Op`], its shader, its arm in
//! `gpu/kernels/mod.rs`, and its tests.
//!
//! Shape letters: B batch, C channels, T tokens, N patches, D width, H heads, d head width, M MLP width.

mod activation;
mod add;
mod attention;
mod attention_map;
mod glu;
mod layer_norm;
mod linear;
mod pool;
mod tokens;
mod unfold;

pub use activation::Activation;
pub use add::Add;
pub use attention::{Attention, Strides};
pub use attention_map::AttentionMap;
pub use glu::Glu;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::{Pool, PoolKind};
pub use tokens::Tokens;
pub use unfold::{PixelSource, Unfold};

use crate::error::{Error, Result};

/// What an operand's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Floats of the graph's precision (or f32, where the operation takes that alone).
    Float,
    /// Bytes: image pixels.
    Byte,
}

/// The operations a graph is made of.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is documented at the struct it carries")]
pub enum Op {
    Unfold(Unfold),
    Linear(Linear),
    Tokens(Tokens),
    LayerNorm(LayerNorm),
    Attention(Attention),
    AttentionMap(AttentionMap),
    Pool(Pool),
    Glu(Glu),
    Add(Add),
}

/// How much work an operation is. Used to predict times and to report rates.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two.
    pub flop: f64,
    /// Bytes read and written, if every tensor is read or written once.
    pub bytes: f64,
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

    /// Element count and kind, as [`Op::check`] takes them.
    #[must_use]
    pub fn given(self) -> (usize, Element) {
        match self {
            Data::F32(values) => (values.len(), Element::Float),
            Data::U8(values) => (values.len(), Element::Byte),
        }
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
            Op::AttentionMap($inner) => $body,
            Op::Pool($inner) => $body,
            Op::Glu($inner) => $body,
            Op::Add($inner) => $body,
        }
    };
}

impl Op {
    /// The operation's name in reports and shader file names.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unfold(_) => "unfold",
            Op::Linear(_) => "linear",
            Op::Tokens(_) => "tokens",
            Op::LayerNorm(_) => "layer_norm",
            Op::Attention(_) => "attention",
            Op::AttentionMap(_) => "attention_map",
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

    /// FLOP, and bytes if an element has `element` bytes.
    #[must_use]
    pub fn cost(&self, element: u64) -> Cost {
        let flop = each!(self, op => op.flop());
        let moved: f64 = self.operand_lens().iter().flatten().chain([&self.output_len()]).map(|&len| len as f64).sum();
        Cost { flop, bytes: element as f64 * moved }
    }

    /// What the elements of the operand at `position` must be.
    #[must_use]
    pub fn element(&self, position: usize) -> Element {
        match self {
            Op::Unfold(Unfold { source: PixelSource::Bytes, .. }) if position == 0 => Element::Byte,
            _ => Element::Float,
        }
    }

    /// Checks the parameters by themselves, then operands (element count and kind) and the output's element count against
    /// them. Whoever passes may be run without further checks of any index.
    ///
    /// # Errors
    /// [`Error::Shape`] names the parameter, or the operand (by position) and both sizes.
    pub fn check(&self, operands: &[Option<(usize, Element)>], output: usize) -> Result<()> {
        each!(self, op => op.valid()).map_err(|reason| Error::shape(self.name(), reason))?;
        let wanted = self.operand_lens();
        if wanted.len() != operands.len() {
            return Err(Error::shape(
                self.name(),
                format!("{} operands expected, {} given", wanted.len(), operands.len()),
            ));
        }
        for (i, (want, have)) in wanted.iter().zip(operands).enumerate() {
            let fits = match (want, have) {
                (Some(want), Some((have, element))) => have >= want && *element == self.element(i),
                (None, None) => true,
                _ => false,
            };
            if !fits {
                let words = |operand: Option<(usize, Element)>| match operand {
                    Some((len, Element::Float)) => format!("{len} floats"),
                    Some((len, Element::Byte)) => format!("{len} bytes"),
                    None => "nothing".to_owned(),
                };
                let (want, have) = (words(want.map(|len| (len, self.element(i)))), words(*have));
                return Err(Error::shape(self.name(), format!("operand {i}: {want} expected, {have} given")));
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
        let given: Vec<_> = operands.iter().map(|data| data.map(Data::given)).collect();
        self.check(&given, out.len())?;
        each!(self, op => op.reference(operands, out));
        Ok(())
    }
}

/// The product of sizes, or the largest number where it is larger: no tensor has so many elements, so that a check against one
/// fails.
pub(crate) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product: usize, size| product.saturating_mul(*size))
}

/// Refuses sizes of 0, by name.
fn positive(sizes: &[(&str, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => Err(format!("{name} is 0")),
        None => Ok(()),
    }
}

/// The operand at `position`. [`Op::check`] has already made sure that it is there.
fn operand<'a>(operands: &Operands<'a>, position: usize) -> &'a [f32] {
    operands[position].map_or(&[], Data::f32)
}
