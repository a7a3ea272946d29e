//! One run of a plan: node after node, between slots of memory.

use std::sync::Arc;

use super::linear::Matrix;
use super::memory::{Memory, grow};
use super::weights::{OfTensors, Weight};
use super::{attention, attention_map, glu, layer_norm, linear};
use crate::error::{Error, Result};
use crate::graph::{Graph, Kind, Node, Plan, TensorId};
use crate::ops::{Data, Op, Operands};

/// An input that a run owns.
pub enum Owned {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl Owned {
    pub fn new(data: Data<'_>) -> Owned {
        match data {
            Data::F32(values) => Owned::F32(values.to_vec()),
            Data::U8(values) => Owned::U8(values.to_vec()),
        }
    }

    fn data(&self) -> Data<'_> {
        match self {
            Owned::F32(values) => Data::F32(values),
            Owned::U8(values) => Data::U8(values),
        }
    }
}

/// What a run reads.
pub struct Run {
    pub plan: Arc<Plan>,
    pub inputs: Vec<(String, Owned)>,
    pub weights: OfTensors,
}

impl Run {
    /// Runs the plan; results in the order of the graph's outputs.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the slots can't be had; [`Error::Shape`] if an input is missing or of the wrong size.
    pub fn execute(&self, memory: &mut Memory) -> Result<Vec<Vec<f32>>> {
        let Memory { slots, scratch } = memory;
        let sizes = self.plan.slots();
        slots.resize_with(slots.len().max(sizes.len()), Vec::new);
        for (i, (slot, bytes)) in slots.iter_mut().zip(sizes).enumerate() {
            grow(&format!("slot {i}"), slot, (bytes / 4) as usize)?;
        }
        self.graph().nodes().iter().try_for_each(|node| self.node(node, slots, scratch))?;
        self.graph().outputs().iter().map(|(_, id)| self.get(*id, slots).map(|data| data.f32().to_vec())).collect()
    }

    fn graph(&self) -> &Graph {
        self.plan.graph()
    }

    fn matrix(&self, id: TensorId) -> Option<&Matrix> {
        match self.weights.get(id.index())?.as_deref()? {
            Weight::Matrix(matrix) => Some(matrix),
            Weight::Plain(_) => None,
        }
    }

    fn get<'a>(&'a self, id: TensorId, slots: &'a [Vec<f32>]) -> Result<Data<'a>> {
        let tensor = self.graph().tensor(id);
        let found = match &tensor.kind {
            Kind::Input => self.inputs.iter().find(|(name, _)| *name == tensor.name).map(|(_, input)| input.data()),
            Kind::Weight(_) => self.weights[id.index()].as_deref().map(|weight| match weight {
                Weight::Plain(values) => Data::F32(values),
                // A linear layer's weight is read as a matrix, not here.
                Weight::Matrix(_) => Data::F32(&[]),
            }),
            Kind::Activation => self.plan.slot(id).map(|slot| Data::F32(&slots[slot][..tensor.len()])),
        };
        found.ok_or_else(|| Error::shape(&tensor.name, "was not given"))
    }

    fn node(&self, node: &Node, slots: &mut [Vec<f32>], scratch: &mut Vec<f32>) -> Result<()> {
        let slot = self.plan.slot(node.output).ok_or_else(|| Error::shape(&node.label, "has no slot"))?;
        // The output's slot holds none of the operands, so it can be moved out while the operands are borrowed.
        let mut out = std::mem::take(&mut slots[slot]);
        let operands: Result<Vec<_>> =
            node.inputs.iter().map(|id| id.map(|id| self.get(id, slots)).transpose()).collect();
        let len = self.graph().tensor(node.output).len();
        let matrix = node.inputs.get(1).copied().flatten().and_then(|id| self.matrix(id));
        let done = operands.and_then(|operands| run_with(&node.op, &operands, matrix, scratch, &mut out[..len]));
        slots[slot] = out;
        done
    }
}

/// Runs one operation by the fastest way the processor has.
///
/// # Errors
/// [`Error::Shape`] where an operand or the output does not fit.
pub fn run_op(op: &Op, operands: &Operands<'_>, out: &mut [f32]) -> Result<()> {
    run_with(op, operands, None, &mut Vec::new(), out)
}

/// Like [`run_op`], with a weight that is already laid out and memory that is kept between calls.
fn run_with(
    op: &Op,
    operands: &Operands<'_>,
    matrix: Option<&Matrix>,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) -> Result<()> {
    let mut given: Vec<_> = operands.iter().map(|data| data.map(Data::given)).collect();
    if let (Some(matrix), Some(Some((len, _)))) = (matrix, given.get_mut(1)) {
        *len = matrix.len();
    }
    op.check(&given, out.len())?;
    match op {
        Op::Linear(op) => linear::run(op, operands, matrix, scratch, out)?,
        Op::Attention(op) => attention::run(op, operands, scratch, out),
        Op::AttentionMap(op) => attention_map::run(op, operands, out),
        Op::LayerNorm(op) => layer_norm::run(op, operands, out),
        Op::Glu(op) => glu::run(op, operands, out),
        Op::Unfold(_) | Op::Tokens(_) | Op::Pool(_) | Op::Add(_) => op.reference(operands, out)?,
    }
    Ok(())
}
