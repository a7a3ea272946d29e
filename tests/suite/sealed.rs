//! Nothing runs that could read or write beside its tensors: such operations are refused by graphs and by executors.

use proptest::prelude::*;
use vit_gpu::Precision;
use vit_gpu::internals::cpu;
use vit_gpu::internals::graph::{Dtype, Graph, Plan};
use vit_gpu::internals::ops::{
    Activation, Add, Attention, AttentionMap, Data, Glu, LayerNorm, Linear, Op, PixelSource, Pool, PoolKind, Strides,
    Tokens, Unfold,
};

use crate::device;

const HUGE: usize = usize::MAX / 2;

/// Operations whose parameters are wrong by themselves.
fn invalid() -> Vec<Op> {
    let linear = Linear::new(2, 3, 4);
    let pool = Pool::new(2, 3, 4, PoolKind::Mean(0));
    let attention = Attention::packed(2, 3, 2, 4, 0.5);
    let Attention { q, k, o, .. } = attention;
    let map = AttentionMap { outer: 2, heads: 2, head_dim: 4, q_len: 3, kv_len: 3, scale: 0.5, q, k };
    let unfold = Unfold { batch: 1, chans: 3, size: (8, 8), patch: (4, 4), source: PixelSource::Bytes };
    let tokens = Tokens { batch: 1, patches: 4, width: 8, prefix: 1, pos_prefix: 1, pos: true };
    vec![
        // Columns beyond the row: the last value would lie in the next row, or behind the tensor.
        Op::Linear(Linear { y_col: 1, ..linear.clone() }),
        Op::Linear(Linear { ld: 3, ..linear.clone() }),
        Op::Linear(Linear { y_col: HUGE, ld: HUGE, ..linear.clone() }),
        Op::Linear(Linear { m: 0, ..linear.clone() }),
        Op::Linear(Linear { k: 0, ..linear.clone() }),
        Op::Linear(Linear { x_row: HUGE, ..linear.clone() }),
        Op::Linear(Linear { y_row: HUGE, ..linear.clone() }),
        Op::Linear(Linear::new(HUGE, HUGE, HUGE)),
        Op::Pool(Pool { kind: PoolKind::Token(3), ..pool.clone() }),
        Op::Pool(Pool { kind: PoolKind::Mean(3), ..pool.clone() }),
        Op::Pool(Pool { kind: PoolKind::AvgMax(usize::MAX), ..pool.clone() }),
        Op::Pool(Pool { col: 1, ..pool.clone() }),
        Op::Pool(Pool { col: usize::MAX, ..pool.clone() }),
        Op::Pool(Pool { tokens: 0, kind: PoolKind::Mean(0), ..pool.clone() }),
        Op::AttentionMap(AttentionMap { kv_len: 0, ..map.clone() }),
        Op::AttentionMap(AttentionMap { heads: HUGE, ..map.clone() }),
        Op::AttentionMap(AttentionMap { k: Strides { offset: usize::MAX, ..map.k }, ..map }),
        Op::Attention(Attention { kv_len: 0, ..attention.clone() }),
        Op::Attention(Attention { outer: 0, ..attention.clone() }),
        Op::Attention(Attention { heads: HUGE, ..attention.clone() }),
        Op::Attention(Attention { causal: true, kv_len: 4, ..attention.clone() }),
        // Rows of the output over each other.
        Op::Attention(Attention { o: Strides { outer: 0, ..o }, ..attention.clone() }),
        Op::Attention(Attention { o: Strides { seq: 4, ..o }, ..attention.clone() }),
        Op::Attention(Attention { q: Strides { offset: usize::MAX, ..attention.q }, ..attention.clone() }),
        Op::LayerNorm(LayerNorm { groups: 2, len: 0, eps: 1e-6, rms: false }),
        Op::LayerNorm(LayerNorm { groups: HUGE, len: HUGE, eps: 1e-6, rms: true }),
        Op::Glu(Glu { rows: 0, width: 4, act: Activation::Gelu }),
        Op::Glu(Glu { rows: HUGE, width: 4, act: Activation::Gelu }),
        Op::Add(Add { len: 0, scale: 1.0 }),
        Op::Unfold(Unfold { patch: (0, 4), ..unfold.clone() }),
        Op::Unfold(Unfold { patch: (16, 4), ..unfold.clone() }),
        Op::Unfold(Unfold { size: (HUGE, HUGE), ..unfold.clone() }),
        Op::Tokens(Tokens { pos_prefix: 2, ..tokens.clone() }),
        Op::Tokens(Tokens { width: 0, ..tokens.clone() }),
        Op::Tokens(Tokens { batch: HUGE, ..tokens }),
    ]
}

#[test]
fn invalid_operations_are_refused_everywhere() {
    let values = vec![0.5f32; 4096];
    let bytes = vec![1u8; 4096];
    for op in invalid() {
        let operands: Vec<_> = op
            .operand_lens()
            .iter()
            .enumerate()
            .map(|(i, len)| {
                let byte = op.element(i) == vit_gpu::internals::ops::Element::Byte;
                len.map(|_| if byte { Data::U8(&bytes) } else { Data::F32(&values) })
            })
            .collect();
        let mut out = vec![0.0; 4096];
        assert!(op.reference(&operands, &mut out).is_err(), "{op:?}");
        assert!(cpu::run_op(&op, &operands, &mut out).is_err(), "{op:?}");
        for executor in device::executors() {
            assert!(pollster::block_on(executor.gpu.run_op(&op, None, &operands, &out)).is_err(), "{op:?}");
        }
        let mut graph = Graph::new(Precision::F32);
        let inputs = operands.iter().enumerate().map(|(i, data)| {
            data.map(|data| {
                let dtype = if matches!(data, Data::U8(_)) { Dtype::U8 } else { Dtype::F32 };
                graph.input(&format!("x{i}"), &[data.len()], dtype)
            })
        });
        let inputs: Vec<_> = inputs.collect();
        let y = graph.activation("y", &[4096]);
        assert!(graph.push("op", op.clone(), inputs, y).is_err(), "{op:?}");
        assert!(graph.nodes().is_empty());
    }
}

#[test]
fn operands_of_the_wrong_kind_are_refused() {
    let (floats, bytes) = ([1.0f32; 8], [1u8; 8]);
    let op = Op::Add(Add { len: 8, scale: 1.0 });
    let mut out = [0.0; 8];
    assert!(op.reference(&[Some(Data::F32(&floats)), Some(Data::U8(&bytes))], &mut out).is_err());
    for executor in device::executors() {
        // A shader would read four times as many bytes.
        let operands = [Some(Data::F32(&floats)), Some(Data::U8(&bytes))];
        assert!(pollster::block_on(executor.gpu.run_op(&op, None, &operands, &out)).is_err());
        let operands = [Some(Data::F32(&floats)); 2];
        let other = pollster::block_on(executor.gpu.run_op(&op, Some("linear_tile_64x64"), &operands, &out));
        assert!(other.unwrap_err().to_string().contains("can't run it here"));
    }
}

#[test]
fn a_graph_takes_only_nodes_whose_tensors_can_be_read_and_written() {
    let add = || Op::Add(Add { len: 4, scale: 1.0 });
    let mut graph = Graph::new(Precision::F16);
    let weight = graph.weight("w", &[4]);
    let (x, y) = (graph.activation("x", &[4]), graph.activation("y", &[4]));
    let single = graph.input("single", &[4], Dtype::F32);
    let error = graph.push("early", add(), vec![Some(weight), Some(x)], y).unwrap_err().to_string();
    assert_eq!(error, "early: operand `x` is not written before");
    let error = graph.push("wide", add(), vec![Some(weight), Some(single)], y).unwrap_err().to_string();
    assert_eq!(error, "wide: operand `single` is F32");
    assert!(graph.push("weight", add(), vec![Some(weight), Some(weight)], weight).is_err());
    assert!(graph.output("y", y).unwrap_err().to_string().contains("no node writes it"));
    graph.push("fine", add(), vec![Some(weight), Some(weight)], x).unwrap();
    assert!(graph.push("itself", add(), vec![Some(x), Some(weight)], x).is_err());
    graph.push("fine", add(), vec![Some(x), Some(weight)], y).unwrap();
    let other = {
        let mut other = Graph::new(Precision::F16);
        (0..9).map(|_| other.activation("z", &[4])).last().unwrap()
    };
    assert!(graph.push("foreign", add(), vec![Some(x), Some(other)], y).is_err());
    graph.output("y", y).unwrap();
    assert!(Plan::new(graph, u64::MAX).is_ok());
}

#[test]
fn sizes_that_overflow_are_larger_than_any_limit() {
    let mut graph = Graph::new(Precision::F32);
    graph.activation("x", &[HUGE, HUGE]);
    assert!(Plan::new(graph, isize::MAX as u64).is_err());
}

proptest! {
    /// Whatever passes the check writes within its output, and twice to no place.
    #[test]
    fn what_is_valid_writes_inside(
        (m, n, k) in (1usize..4, 1usize..6, 1usize..4),
        (x_row, y_row, y_col) in (0usize..3, 0usize..3, 0usize..4),
        ld in 0usize..10,
    ) {
        let op = Op::Linear(Linear { x_row, y_row, y_col, ld, ..Linear::new(m, k, n) });
        let (x, w) = (vec![1.0; (x_row + m) * k], vec![1.0; n * k]);
        let mut out = vec![f32::NAN; (y_row + m) * ld];
        let done = op.reference(&[Some(Data::F32(&x)), Some(Data::F32(&w)), None, None, None], &mut out);
        prop_assert_eq!(done.is_ok(), y_col + n <= ld);
        if done.is_ok() {
            prop_assert_eq!(out.iter().filter(|value| !value.is_nan()).count(), m * n);
        }
    }
}
