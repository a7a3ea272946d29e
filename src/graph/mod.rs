//! The forward pass as plain data: tensors, operations, and a plan for their memory. Independent of models and devices.

mod plan;

pub use plan::Plan;

use crate::error::{Error, Result};
use crate::ops::{Cost, Element, Op, product};

/// Identifies a tensor of one [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId(usize);

impl TensorId {
    /// Position among the graph's tensors.
    #[must_use]
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// The number type of weights and activations. Norms, the softmax and sums of floats are f32 in every precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 32-bit floats: PyTorch's numbers.
    #[default]
    F32,
    /// 16-bit floats (IEEE half), on GPUs that have them.
    F16,
    /// Products of 8-bit integers in the blocks, on the processor only: weights have a scale per output channel, activations
    /// a range per row. Everything else is f32.
    I8,
}

impl Precision {
    /// `f32`, `f16` or `i8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::I8 => "i8",
        }
    }

    /// Bytes of an element of an activation: 4 for f32 and for i8, whose activations are f32, 2 for f16.
    #[must_use]
    pub fn bytes(self) -> u64 {
        Dtype::from(self).bytes()
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            "i8" => Ok(Precision::I8),
            _ => Err(Error::argument("precision", format!("unknown precision `{text}`: f32, f16 or i8"))),
        }
    }
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Byte (image pixels).
    U8,
}

impl Dtype {
    /// Bytes of an element.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 => 2,
            Dtype::U8 => 1,
        }
    }
}

impl From<Precision> for Dtype {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 | Precision::I8 => Dtype::F32,
            Precision::F16 => Dtype::F16,
        }
    }
}

/// A weight by its canonical name, or some of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WeightRef {
    /// Canonical (timm) name.
    pub name: String,
    /// First row and row count along axis 0; `None` for the whole tensor.
    pub rows: Option<(usize, usize)>,
}

/// Where a tensor's values come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Given by the caller at each run.
    Input,
    /// Loaded once, from the checkpoint.
    Weight(WeightRef),
    /// Written by one or more nodes.
    Activation,
}

/// A tensor: name, shape, type, origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Name, such as `blocks.3.attn.qkv.weight`; unique in its graph for inputs and weights.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// Whether it is an input, a weight or an activation.
    pub kind: Kind,
}

impl Tensor {
    /// Element count.
    #[must_use]
    pub fn len(&self) -> usize {
        product(&self.shape)
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element count and kind, as operations check them.
    fn given(&self) -> (usize, Element) {
        (self.len(), if self.dtype == Dtype::U8 { Element::Byte } else { Element::Float })
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.len() as u64).saturating_mul(self.dtype.bytes())
    }
}

/// One operation on named tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// A path such as `blocks.3.attn.qkv`; reports and GPU captures show it.
    pub label: String,
    /// What is computed.
    pub op: Op,
    /// Operands by position.
    pub inputs: Vec<Option<TensorId>>,
    /// The tensor written; several nodes may write parts of one.
    pub output: TensorId,
}

/// Nodes in execution order.
///
/// A graph holds valid nodes alone: each was checked when it was added, and nothing changes afterwards. Executors rely on it:
/// they run a graph without checking an index again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    tensors: Vec<Tensor>,
    nodes: Vec<Node>,
    outputs: Vec<(String, TensorId)>,
    precision: Precision,
    /// What the names of weights begin with, and are declared without.
    prefix: &'static str,
    /// Whether a node writes the tensor.
    written: Vec<bool>,
}

impl Graph {
    /// An empty graph whose weights and activations have the given precision.
    #[must_use]
    pub fn new(precision: Precision) -> Graph {
        Graph { precision, ..Graph::default() }
    }

    /// The same, where the names of all weights begin with `prefix`, which they are declared without.
    #[must_use]
    pub fn named(precision: Precision, prefix: &'static str) -> Graph {
        Graph { prefix, ..Graph::new(precision) }
    }

    /// All tensors.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// All nodes, each after the nodes it reads from.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The tensors that a run returns, each with its output name.
    #[must_use]
    pub fn outputs(&self) -> &[(String, TensorId)] {
        &self.outputs
    }

    /// The number type of weights and activations.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The tensor behind an id of this graph.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    fn add(&mut self, name: String, shape: &[usize], dtype: Dtype, kind: Kind) -> TensorId {
        self.tensors.push(Tensor { name, shape: shape.to_vec(), dtype, kind });
        self.written.push(false);
        TensorId(self.tensors.len() - 1)
    }

    /// Declares an input.
    pub fn input(&mut self, name: &str, shape: &[usize], dtype: Dtype) -> TensorId {
        self.add(name.to_owned(), shape, dtype, Kind::Input)
    }

    /// Declares a weight of the given shape.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let name = format!("{}{name}", self.prefix);
        let at = WeightRef { name: name.clone(), rows: None };
        self.add(name, shape, self.precision.into(), Kind::Weight(at))
    }

    /// Declares `count` rows, from `first` on, of a weight; `shape` is that of the rows taken.
    pub fn weight_rows(&mut self, name: &str, first: usize, shape: &[usize]) -> TensorId {
        let rows = Some((first, shape[0]));
        let name = format!("{}{name}", self.prefix);
        let label = format!("{name}[{first}..{}]", first + shape[0]);
        self.add(label, shape, self.precision.into(), Kind::Weight(WeightRef { name, rows }))
    }

    /// Declares an activation for nodes to write.
    pub fn activation(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.add(name.to_owned(), shape, self.precision.into(), Kind::Activation)
    }

    /// Appends a node after checking its parameters, that its operands and output fit them, that every activation it reads was
    /// written before, and that it writes an activation that it does not read.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] names the operation, the operand and both sizes.
    pub fn push(&mut self, label: &str, op: Op, inputs: Vec<Option<TensorId>>, output: TensorId) -> Result<()> {
        let refused = |reason: String| Err(Error::shape(label, reason));
        let known = |id: &TensorId| id.0 < self.tensors.len();
        if !inputs.iter().flatten().chain([&output]).all(known) {
            return refused("a tensor of another graph".to_owned());
        }
        let given: Vec<_> = inputs.iter().map(|id| id.map(|id| self.tensor(id).given())).collect();
        op.check(&given, self.tensor(output).len())?;
        for id in inputs.iter().flatten() {
            let tensor = self.tensor(*id);
            // Pixels, and the table that normalises them, come as they are.
            let fits = match op {
                Op::Unfold(_) => tensor.dtype != Dtype::F16,
                _ => tensor.dtype == Dtype::from(self.precision),
            };
            if !fits {
                return refused(format!("operand `{}` is {:?}", tensor.name, tensor.dtype));
            }
            if tensor.kind == Kind::Activation && !self.written[id.0] {
                return refused(format!("operand `{}` is not written before", tensor.name));
            }
        }
        if self.tensor(output).kind != Kind::Activation || inputs.contains(&Some(output)) {
            return refused(format!("`{}` can't be written", self.tensor(output).name));
        }
        self.written[output.0] = true;
        self.nodes.push(Node { label: label.to_owned(), op, inputs, output });
        Ok(())
    }

    /// Makes a tensor an output of the graph, called `name`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if no node has written it.
    pub fn output(&mut self, name: &str, id: TensorId) -> Result<()> {
        if self.written.get(id.0) != Some(&true) {
            return Err(Error::shape(name, "no node writes it"));
        }
        self.outputs.push((name.to_owned(), id));
        Ok(())
    }

    /// The largest input or activation, in bytes.
    #[must_use]
    pub fn largest_bytes(&self) -> u64 {
        let moving = self.tensors.iter().filter(|t| !matches!(t.kind, Kind::Weight(_)));
        moving.map(Tensor::bytes).max().unwrap_or(0)
    }

    /// The weights it reads, each once, with its shape.
    pub fn weights(&self) -> impl Iterator<Item = (&WeightRef, &Tensor)> {
        self.tensors.iter().filter_map(|tensor| match &tensor.kind {
            Kind::Weight(at) => Some((at, tensor)),
            _ => None,
        })
    }

    /// The weights it reads, each once, with its id.
    pub fn weight_ids(&self) -> impl Iterator<Item = (TensorId, &WeightRef)> {
        self.tensors.iter().enumerate().filter_map(|(i, tensor)| match &tensor.kind {
            Kind::Weight(at) => Some((TensorId(i), at)),
            _ => None,
        })
    }

    /// FLOP and bytes of one run.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.nodes
            .iter()
            .map(|node| node.op.cost(self.precision.bytes()))
            .fold(Cost::default(), |sum, cost| Cost { flop: sum.flop + cost.flop, bytes: sum.bytes + cost.bytes })
    }
}
