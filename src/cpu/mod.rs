//! Runs a plan on the processor. Falls back to `ops/`'s plain functions where speed is of no account.

mod attention;
mod glu;
mod int8;
mod layer_norm;
mod linear;
mod math;
mod pack;
mod peak;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use linear::Matrix;
use pack::Packed;

use crate::error::{Error, Result};
use crate::graph::{Graph, Kind, Node, Plan, Precision, TensorId, WeightRef};
use crate::model::WeightLoader;
use crate::ops::{Data, Op, Operands};

/// A weight as it is used.
enum Stored {
    Plain(Box<[f32]>),
    /// A linear layer's.
    Matrix(Matrix),
}

/// What runs write: activation slots, and room for a product's packed rows.
#[derive(Default)]
struct Memory {
    slots: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

/// Weights, activations and threads of one model on the processor.
pub struct CpuExecutor {
    loader: Arc<dyn WeightLoader>,
    weights: RwLock<HashMap<WeightRef, Stored>>,
    /// Kept between runs; a run holds it, others wait.
    memory: Mutex<Memory>,
    threads: rayon::ThreadPool,
}

impl CpuExecutor {
    /// Makes an executor with `threads` worker threads (0: one per available core).
    ///
    /// # Errors
    /// [`Error::Device`] if the threads can't be started.
    pub fn new(loader: Arc<dyn WeightLoader>, threads: usize) -> Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::Device { adapter: "cpu".into(), reason: error.to_string() })?;
        Ok(CpuExecutor { loader, weights: RwLock::default(), memory: Mutex::default(), threads })
    }

    /// Whether this processor has the instructions that make [`Precision::I8`] faster than f32: AVX-512's VNNI.
    #[must_use]
    pub fn has_dot_products() -> bool {
        int8::dot_products()
    }

    /// Worker threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Loads the weights a graph reads and that are not loaded yet.
    ///
    /// # Errors
    /// Whatever reading the checkpoint can fail with.
    pub fn load_weights(&self, graph: &Graph) -> Result<()> {
        let missing = |weights: &HashMap<_, _>| graph.weights().any(|(at, _)| !weights.contains_key(at));
        if !missing(&self.weights.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut weights = self.weights.write().unwrap_or_else(PoisonError::into_inner);
        let matrices: HashSet<TensorId> = graph
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Linear(_)))
            .filter_map(|node| node.inputs[1])
            .collect();
        for (id, at) in graph.weight_ids() {
            if !weights.contains_key(at) {
                let tensor = graph.tensor(id);
                let mut values = vec![0.0; tensor.len()].into_boxed_slice();
                self.loader.load(&at.name, at.rows.map_or(0, |(first, _)| first), &mut values)?;
                let stored = match tensor.shape[..] {
                    [n, k] if matrices.contains(&id) => Stored::Matrix(self.threads.install(|| {
                        // Patch embedding and head are little work and all of the result.
                        let block = at.name.starts_with("blocks.");
                        if graph.precision == Precision::I8 && block && k <= int8::LARGEST_K {
                            Matrix::Int8(int8::Weights::new(&values, n, k))
                        } else {
                            Matrix::F32(Packed::new(&values, n, k))
                        }
                    })),
                    _ => Stored::Plain(values),
                };
                weights.insert(at.clone(), stored);
            }
        }
        Ok(())
    }

    /// Runs a graph; `inputs` by name, results in the order of `graph.outputs`.
    ///
    /// # Errors
    /// [`Error::Shape`] if an input is missing or of the wrong size.
    pub fn run(&self, graph: &Graph, plan: &Plan, inputs: &[(&str, Data<'_>)]) -> Result<Vec<Vec<f32>>> {
        self.load_weights(graph)?;
        let weights = self.weights.read().unwrap_or_else(PoisonError::into_inner);
        let mut lease = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { slots, scratch } = &mut *lease;
        for (i, bytes) in plan.slots().iter().enumerate() {
            if slots.len() <= i {
                slots.push(Vec::new());
            }
            let len = (bytes / 4) as usize;
            if slots[i].len() < len {
                slots[i].resize(len, 0.0);
            }
        }
        let values = Values { graph, plan, inputs, weights: &weights };
        self.threads.install(|| graph.nodes.iter().try_for_each(|node| run_node(node, &values, slots, scratch)))?;
        graph.outputs.iter().map(|(_, id)| values.get(*id, slots).map(|data| data.f32().to_vec())).collect()
    }
}

/// What a node may read.
struct Values<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    inputs: &'a [(&'a str, Data<'a>)],
    weights: &'a HashMap<WeightRef, Stored>,
}

impl<'a> Values<'a> {
    fn matrix(&self, id: TensorId) -> Option<&'a Matrix> {
        match &self.graph.tensor(id).kind {
            Kind::Weight(at) => match self.weights.get(at)? {
                Stored::Matrix(matrix) => Some(matrix),
                Stored::Plain(_) => None,
            },
            _ => None,
        }
    }

    fn get(&self, id: TensorId, slots: &'a [Vec<f32>]) -> Result<Data<'a>> {
        let tensor = self.graph.tensor(id);
        let found = match &tensor.kind {
            Kind::Input => self.inputs.iter().find(|(name, _)| *name == tensor.name).map(|(_, data)| *data),
            Kind::Weight(at) => self.weights.get(at).map(|stored| match stored {
                Stored::Plain(values) => Data::F32(values),
                // Read as a matrix.
                Stored::Matrix(_) => Data::F32(&[]),
            }),
            Kind::Activation => self.plan.slot(id).map(|slot| Data::F32(&slots[slot][..tensor.len()])),
        };
        found.ok_or_else(|| Error::shape(&tensor.name, "was not given"))
    }
}

fn run_node(node: &Node, values: &Values<'_>, slots: &mut [Vec<f32>], scratch: &mut Vec<f32>) -> Result<()> {
    let slot = values.plan.slot(node.output).ok_or_else(|| Error::shape(&node.label, "has no slot"))?;
    // The output's slot holds none of the operands, so it can be taken out while they are borrowed.
    let mut out = std::mem::take(&mut slots[slot]);
    let operands: Result<Vec<_>> =
        node.inputs.iter().map(|id| id.map(|id| values.get(id, slots)).transpose()).collect();
    let len = values.graph.tensor(node.output).len();
    let matrix = node.inputs.get(1).copied().flatten().and_then(|id| values.matrix(id));
    let done = operands.and_then(|operands| run_with(&node.op, &operands, matrix, scratch, &mut out[..len]));
    slots[slot] = out;
    done
}

/// Runs one operation by the fastest way the processor has.
///
/// # Errors
/// [`Error::Shape`] where an operand or the output is too short.
pub fn run_op(op: &Op, operands: &Operands<'_>, out: &mut [f32]) -> Result<()> {
    run_with(op, operands, None, &mut Vec::new(), out)
}

/// The same with a weight that is laid out already and room that is kept.
fn run_with(
    op: &Op,
    operands: &Operands<'_>,
    matrix: Option<&Matrix>,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) -> Result<()> {
    let mut lens: Vec<_> = operands.iter().map(|data| data.map(Data::len)).collect();
    if let Some(matrix) = matrix {
        lens[1] = Some(matrix.len());
    }
    op.check(&lens, out.len())?;
    match op {
        Op::Linear(op) => linear::run(op, operands, matrix, scratch, out),
        Op::Attention(op) => attention::run(op, operands, out),
        Op::LayerNorm(op) => layer_norm::run(op, operands, out),
        Op::Glu(op) => glu::run(op, operands, out),
        Op::Unfold(_) | Op::Tokens(_) | Op::Pool(_) | Op::Add(_) => op.reference(operands, out)?,
    }
    Ok(())
}
