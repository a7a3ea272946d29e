//! A graph made ready to run: every activation has a buffer slot; slots whose tensor is no longer read are used again.

use super::{Graph, Kind, TensorId};
use crate::error::{Error, Result};

/// A graph with the slot that each activation lives in, and how large the slots must be.
///
/// A slot holds one tensor at a time. On a GPU, a buffer that is written by a dispatch can't be read by it. So an output
/// never shares a slot with a tensor that is still needed, not even with the operands of its own node. Outputs of the graph keep
/// their slot until the end of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    graph: Graph,
    slots: Vec<u64>,
    slot_of: Vec<Option<usize>>,
}

impl Plan {
    /// Plans a graph; no tensor may be larger than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] names the tensor that is larger.
    pub fn new(graph: Graph, limit: u64) -> Result<Plan> {
        if let Some(tensor) = graph.tensors.iter().find(|tensor| tensor.bytes() > limit) {
            return Err(Error::Limit { tensor: tensor.name.clone(), bytes: tensor.bytes(), limit });
        }
        let last_use = last_uses(&graph);
        let mut plan = Plan { slots: Vec::new(), slot_of: vec![None; graph.tensors.len()], graph: Graph::default() };
        let mut free: Vec<usize> = Vec::new();
        for (step, node) in graph.nodes.iter().enumerate() {
            let output = node.output.index();
            if plan.slot_of[output].is_none() {
                let bytes = graph.tensors[output].bytes();
                plan.slot_of[output] = Some(plan.take(&mut free, bytes));
            }
            for tensor in node.inputs.iter().flatten().chain([&node.output]).map(|id| id.index()) {
                if let Some(slot) =
                    plan.slot_of[tensor].filter(|slot| last_use[tensor] == Some(step) && !free.contains(slot))
                {
                    free.push(slot);
                }
            }
        }
        plan.graph = graph;
        Ok(plan)
    }

    /// The graph that was planned.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Takes the smallest free slot that is large enough; otherwise enlarges the largest free slot; otherwise adds a slot.
    fn take(&mut self, free: &mut Vec<usize>, bytes: u64) -> usize {
        let fitting =
            free.iter().copied().filter(|&slot| self.slots[slot] >= bytes).min_by_key(|&slot| self.slots[slot]);
        let chosen = fitting.or_else(|| free.iter().copied().max_by_key(|&slot| self.slots[slot]));
        if let Some(slot) = chosen {
            free.retain(|&other| other != slot);
            self.slots[slot] = self.slots[slot].max(bytes);
            slot
        } else {
            self.slots.push(bytes);
            self.slots.len() - 1
        }
    }

    /// Slot sizes in bytes.
    #[must_use]
    pub fn slots(&self) -> &[u64] {
        &self.slots
    }

    /// The slot of an activation; `None` for inputs, weights and tensors no node writes.
    #[must_use]
    pub fn slot(&self, id: TensorId) -> Option<usize> {
        self.slot_of[id.index()]
    }

    /// Bytes of all slots together: the peak of a run's activations.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.slots.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
    }
}

/// The last node that uses each activation; `None` for graph outputs and for tensors that are not activations.
fn last_uses(graph: &Graph) -> Vec<Option<usize>> {
    let mut last = vec![None; graph.tensors.len()];
    for (step, node) in graph.nodes.iter().enumerate() {
        for id in node.inputs.iter().flatten().chain([&node.output]) {
            last[id.index()] = Some(step);
        }
    }
    for (tensor, last) in graph.tensors.iter().zip(&mut last) {
        if tensor.kind != Kind::Activation {
            *last = None;
        }
    }
    for (_, id) in &graph.outputs {
        last[id.index()] = None;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Dtype;
    use crate::ops::{Add, Op};
    use proptest::prelude::*;

    /// A random graph of additions: node i reads two earlier tensors, and some tensors are kept.
    fn graph(nodes: &[(usize, usize, usize)], kept: &[usize]) -> Graph {
        let mut graph = Graph::default();
        let mut ids = vec![graph.input("x", &[64], Dtype::F32)];
        for (i, &(a, b, len)) in nodes.iter().enumerate() {
            let y = graph.activation(&format!("t{i}"), &[64 + len]);
            let op = Op::Add(Add { len: 64, scale: 1.0 });
            graph.push("add", op, vec![Some(ids[a % ids.len()]), Some(ids[b % ids.len()])], y).unwrap();
            ids.push(y);
        }
        for (i, &at) in kept.iter().enumerate() {
            graph.output(&format!("o{i}"), ids[1 + at % (ids.len() - 1)]).unwrap();
        }
        graph
    }

    proptest! {
        #[test]
        fn no_live_tensor_is_overwritten(
            nodes in prop::collection::vec((0usize..99, 0usize..99, 0usize..200), 1..40),
            kept in prop::collection::vec(0usize..99, 1..4),
        ) {
            let graph = graph(&nodes, &kept);
            let plan = Plan::new(graph.clone(), u64::MAX).unwrap();
            // Run it symbolically: a slot holds the tensor last written to it, and every read must find its own.
            let mut holds = vec![None; plan.slots().len()];
            for node in &graph.nodes {
                let slot = plan.slot(node.output).unwrap();
                for id in node.inputs.iter().flatten() {
                    if let Some(read) = plan.slot(*id) {
                        prop_assert_eq!(holds[read], Some(*id));
                        prop_assert_ne!(read, slot, "an output shares its operand's slot");
                    }
                }
                prop_assert!(plan.slots()[slot] >= graph.tensor(node.output).bytes());
                holds[slot] = Some(node.output);
            }
            for (_, id) in &graph.outputs {
                if let Some(slot) = plan.slot(*id) {
                    prop_assert_eq!(holds[slot], Some(*id), "an output was overwritten");
                }
            }
            let sum: u64 = graph.nodes.iter().map(|node| graph.tensor(node.output).bytes()).sum();
            prop_assert!(plan.peak_bytes() <= sum);
        }
    }

    #[test]
    fn a_chain_needs_two_slots_and_an_output_keeps_its_own() {
        let chain: Vec<_> = (0..10).map(|i| (i, i, 0)).collect();
        assert_eq!(Plan::new(graph(&chain, &[9]), u64::MAX).unwrap().slots().len(), 2);
        assert_eq!(Plan::new(graph(&chain, &[9, 2]), u64::MAX).unwrap().slots().len(), 3);
    }

    #[test]
    fn a_tensor_over_the_limit_is_named() {
        let error = Plan::new(graph(&[(0, 0, 100)], &[0]), 400).unwrap_err();
        assert_eq!(error.to_string(), "tensor `t0` needs 656 bytes, but a buffer on this device can have at most 400");
    }
}
