//! Every operation on every device against its plain reference, at shapes that leave edges everywhere.

use vit_gpu::Precision;
use vit_gpu::internals::cpu;
use vit_gpu::internals::executor::Executor;
use vit_gpu::internals::model::random::HashedValues;
use vit_gpu::internals::ops::{
    Activation, Add, Attention, AttentionMap, Data, Glu, LayerNorm, Linear, Op, PixelSource, Pool, PoolKind, Strides,
    Tokens, Unfold,
};

use crate::compare::{EXACT, OP, Tolerance, assert_close};
use crate::device;

/// Which kernels to try on an executor.
type Kernels = fn(&device::Executor, &Op) -> Vec<Option<&'static str>>;

fn values(name: &str, len: usize) -> Vec<f32> {
    let stream = HashedValues::new(name, 1);
    (0..len).map(|i| stream.get(i)).collect()
}

/// Runs `op` by its reference, by the processor's fast path and by every kernel of every GPU executor; outputs start as
/// NaN where the operation must write and keep a mark where it must not.
fn check(what: &str, op: &Op, tolerance: Tolerance) {
    check_by(device::kernels, what, op, tolerance);
}

/// The same by the first kernel of every executor.
fn check_once(what: &str, op: &Op, tolerance: Tolerance) {
    check_by(device::first_kernel, what, op, tolerance);
}

fn check_by(kernels: Kernels, what: &str, op: &Op, tolerance: Tolerance) {
    let floats: Vec<_> = op
        .operand_lens()
        .iter()
        .enumerate()
        .map(|(i, len)| len.map(|len| values(&format!("operand {i}"), len)))
        .collect();
    let operands: Vec<_> = floats.iter().map(|values| values.as_deref().map(Data::F32)).collect();
    check_with(kernels, what, op, &operands, tolerance);
}

fn check_with(kernels: Kernels, what: &str, op: &Op, operands: &[Option<Data<'_>>], tolerance: Tolerance) {
    let mut want = vec![f32::NAN; op.output_len()];
    op.reference(operands, &mut want).unwrap();
    // Elements the reference leaves alone must be left alone by all.
    let untouched: Vec<usize> = (0..want.len()).filter(|&i| want[i].is_nan()).collect();
    let start: Vec<f32> = want.iter().map(|v| if v.is_nan() { 7.5 } else { f32::NAN }).collect();
    untouched.iter().for_each(|&i| want[i] = 7.5);

    let mut got = start.clone();
    cpu::run_op(op, operands, &mut got).unwrap();
    assert_close(&format!("{what} on the processor"), &got, &want, tolerance);
    for executor in device::executors() {
        let (operands, want, tolerance) = match executor.precision {
            Precision::F32 | Precision::I8 => (rounded(op, operands, Precision::F32), want.clone(), tolerance),
            Precision::F16 => {
                let halves = rounded(op, operands, Precision::F16);
                let mut want = start.clone();
                op.reference(&borrowed(&halves), &mut want).unwrap();
                (halves, want, tolerance.in_f16())
            }
        };
        for kernel in kernels(executor, op) {
            let got = pollster::block_on(executor.gpu.run_op(op, kernel, &borrowed(&operands), &start)).unwrap();
            let what = format!("{what} on {} by {kernel:?} of {:?}", executor.gpu.name(), executor.family);
            assert_close(&what, &got, &want, tolerance);
        }
    }
}

enum Owned {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

/// Operands as a device of this precision sees them: pixels and their table stay as they are.
fn rounded(op: &Op, operands: &[Option<Data<'_>>], precision: Precision) -> Vec<Option<Owned>> {
    let half = precision == Precision::F16 && !matches!(op, Op::Unfold(_));
    let each = |data: &Data<'_>| match data {
        Data::F32(values) if half => Owned::F32(values.iter().map(|v| half::f16::from_f32(*v).to_f32()).collect()),
        Data::F32(values) => Owned::F32(values.to_vec()),
        Data::U8(values) => Owned::U8(values.to_vec()),
    };
    operands.iter().map(|data| data.as_ref().map(each)).collect()
}

fn borrowed(operands: &[Option<Owned>]) -> Vec<Option<Data<'_>>> {
    fn each(data: &Owned) -> Data<'_> {
        match data {
            Owned::F32(values) => Data::F32(values),
            Owned::U8(values) => Data::U8(values),
        }
    }
    operands.iter().map(|data| data.as_ref().map(each)).collect()
}

#[test]
fn linear_at_every_edge() {
    for (m, k, n) in
        [(1, 4, 4), (1, 1, 1), (3, 7, 5), (17, 20, 36), (65, 64, 64), (64, 12, 68), (70, 75, 10), (130, 36, 132)]
    {
        check(&format!("linear {m}x{k}x{n}"), &Op::Linear(Linear::new(m, k, n)), OP);
        let op = Linear { bias: true, gamma: true, residual: true, act: Activation::Gelu, ..Linear::new(m, k, n) };
        check(&format!("linear {m}x{k}x{n} with everything"), &Op::Linear(op), OP);
    }
}

#[test]
fn linear_with_each_activation() {
    for act in [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Tanh,
        Activation::Silu,
    ] {
        // Weights of a long row sum to values well beyond ±10, where careless formulas overflow.
        for n in [8, 6] {
            check_once(&format!("{act:?} {n}"), &Op::Linear(Linear { act, bias: true, ..Linear::new(5, 512, n) }), OP);
        }
    }
}

/// Through an identity matrix, so that nothing but the activation is measured.
#[test]
fn gelu_on_the_device_is_within_1e_6_of_the_true_one() {
    let x: Vec<f32> = (-16_000..16_000).map(|i| i as f32 * 5e-4).collect();
    for n in [4, 5] {
        let identity: Vec<f32> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
        let op = Op::Linear(Linear { act: Activation::Gelu, ..Linear::new(x.len() / n, n, n) });
        let operands = [Some(Data::F32(&x)), Some(Data::F32(&identity)), None, None, None];
        for executor in device::executors().iter().filter(|executor| executor.precision == Precision::F32) {
            let nan = vec![f32::NAN; x.len()];
            let got = pollster::block_on(executor.gpu.run_op(&op, None, &operands, &nan)).unwrap();
            for (x, got) in x.iter().map(|x| f64::from(*x)).zip(got) {
                let want = 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
                let error = (f64::from(got) - want).abs() / x.abs().max(1.0);
                assert!(error < 1e-6, "gelu({x}) is {got}, {want} expected, with {:?} kernels", executor.family);
            }
        }
    }
}

#[test]
fn linear_in_pieces_of_rows_and_columns() {
    for (n, y_col, ld) in [(8, 4, 20), (3, 2, 7)] {
        let op = Linear { x_row: 3, y_row: 2, y_col, ld, residual: true, bias: true, ..Linear::new(5, 12, n) };
        check("a piece of a linear layer", &Op::Linear(op), OP);
    }
}

#[test]
fn layer_norm_rows_and_joint() {
    for (shape, axes) in [(&[3, 5, 12][..], 1), (&[1, 1, 1], 1), (&[2, 7, 65], 1), (&[2, 7, 65], 2), (&[3, 129], 2)] {
        let op = LayerNorm::over(shape, axes, 1e-6);
        check(&format!("layer norm {shape:?} over {axes}"), &Op::LayerNorm(op.clone()), OP);
        check(&format!("rms norm {shape:?} over {axes}"), &Op::LayerNorm(LayerNorm { rms: true, ..op }), OP);
    }
    // A mean far from zero: E[x²] − E[x]² would lose every digit.
    let shifted: Vec<f32> = values("shifted", 200).iter().map(|v| 1000.0 + v).collect();
    let (weight, bias) = (vec![1.0; 100], vec![0.0; 100]);
    let op = Op::LayerNorm(LayerNorm::over(&[2, 100], 1, 1e-12));
    let loose = Tolerance { absolute: 2e-3, relative: 0.0 }; // 1000 has an ulp of 6e-5, the spread is 0.58
    check_with(
        device::kernels,
        "shifted layer norm",
        &op,
        &[&shifted, &weight, &bias].map(|v: &Vec<f32>| Some(Data::F32(v))),
        loose,
    );
}

#[test]
fn attention_at_odd_widths_and_lengths() {
    for (outer, len, heads, d) in
        [(1, 1, 1, 1), (2, 5, 3, 12), (1, 65, 2, 20), (2, 64, 1, 64), (1, 130, 2, 72), (1, 33, 1, 30), (1, 70, 1, 256)]
    {
        let scale = (d as f32).powf(-0.5) * 4.0; // sharper than uniform
        check(
            &format!("attention {outer}x{len}x{heads}x{d}"),
            &Op::Attention(Attention::packed(outer, len, heads, d, scale)),
            OP,
        );
    }
}

#[test]
fn causal_attention_sees_no_later_token() {
    for (outer, len, heads, d) in
        [(1, 1, 1, 4), (2, 5, 3, 12), (1, 77, 2, 64), (1, 130, 2, 20), (1, 33, 1, 30), (1, 70, 1, 256)]
    {
        let op = Attention { causal: true, ..Attention::packed(outer, len, heads, d, (d as f32).powf(-0.5) * 4.0) };
        check(&format!("causal attention {outer}x{len}x{heads}x{d}"), &Op::Attention(op), OP);
    }
    // The last token sees all, the first only itself: its own value comes out.
    let (len, d) = (9, 4);
    let qkv = values("qkv", len * 3 * d);
    let mut out = vec![0.0; len * d];
    let all = Attention::packed(1, len, 1, d, 1.0);
    let operands = [Some(Data::F32(&qkv)); 3];
    Op::Attention(Attention { causal: true, ..all.clone() }).reference(&operands, &mut out).unwrap();
    assert_close("the first token", &out[..d], &qkv[2 * d..3 * d], OP);
    let causal = out.clone();
    Op::Attention(all).reference(&operands, &mut out).unwrap();
    assert_close("the last token", &causal[(len - 1) * d..], &out[(len - 1) * d..], EXACT);
    assert!(causal[..d] != out[..d]);
}

#[test]
fn attention_maps_at_odd_widths_and_lengths() {
    for (outer, len, heads, d, scale) in
        [(1, 1, 1, 1, 1.0), (2, 197, 3, 64, 0.125), (3, 66, 2, 5, 3.0), (1, 130, 1, 80, 0.1)]
    {
        let Attention { q, k, .. } = Attention::packed(outer, len, heads, d, scale);
        let map = AttentionMap { outer, heads, head_dim: d, q_len: len, kv_len: len, scale, q, k };
        check(&format!("maps of {outer}x{len}, {heads} heads of {d}"), &Op::AttentionMap(map.clone()), OP);
        // Other queries than keys, one query for all sequences, and the second head alone.
        let q = Strides { offset: 3, outer: 0, seq: heads * d };
        let k = Strides { offset: k.offset + (heads - 1) * d, ..k };
        let one = AttentionMap { q_len: 1, heads: 1, q, k, ..map };
        check(&format!("one query of {outer}x{len}"), &Op::AttentionMap(one), OP);
    }
}

#[test]
fn attention_over_4097_tokens() {
    check("attention over 4097 tokens", &Op::Attention(Attention::packed(1, 4097, 1, 8, 2.0)), OP);
}

#[test]
fn attention_with_huge_scores_and_a_scale_behind_the_softmax() {
    let mut op = Attention::packed(1, 40, 2, 16, 300.0);
    op.post_scale = 0.25;
    let loose = Tolerance { absolute: 2e-4, relative: 1e-4 }; // scores near 3,000 in f32 are exact to 2e-4
    check("huge scores", &Op::Attention(op), loose);
}

#[test]
fn attention_across_the_batch_and_with_other_keys_than_queries() {
    // [tokens, batch, 3·D] read with the batch as the sequence, and one query against separate keys and values.
    let (batch, tokens, width) = (6, 4, 24);
    let part = |i: usize| Strides { offset: i * width, outer: 3 * width, seq: tokens * 3 * width };
    let o = Strides { offset: 0, outer: width, seq: tokens * width };
    let base = Attention::packed(tokens, batch, 2, 12, 0.5);
    check("across the batch", &Op::Attention(Attention { q: part(0), k: part(1), v: part(2), o, ..base.clone() }), OP);
    let q = Strides { offset: 0, outer: 0, seq: width };
    let kv = |offset| Strides { offset, outer: 9 * 2 * width, seq: 2 * width };
    let o = Strides { offset: 0, outer: width, seq: width };
    let op = Attention { outer: 3, q_len: 1, kv_len: 9, q, k: kv(0), v: kv(width), o, ..base };
    check("one query", &Op::Attention(op), OP);
}

#[test]
fn unfold_bytes_and_planes_are_exact() {
    for (size, patch) in [((8, 8), (4, 4)), ((13, 22), (5, 7)), ((3, 9), (3, 1))] {
        let planes = Unfold { batch: 2, chans: 3, size, patch, source: PixelSource::Planes };
        check(&format!("planes {size:?} {patch:?}"), &Op::Unfold(planes.clone()), EXACT);
        let bytes: Vec<u8> =
            values("bytes", 2 * 3 * size.0 * size.1).iter().map(|v| (v * 127.0 + 128.0) as u8).collect();
        let table = values("table", 3 * 256);
        let op = Op::Unfold(Unfold { source: PixelSource::Bytes, ..planes });
        check_with(
            device::kernels,
            &format!("bytes {size:?} {patch:?}"),
            &op,
            &[Some(Data::U8(&bytes)), Some(Data::F32(&table))],
            EXACT,
        );
    }
}

#[test]
fn tokens_with_every_kind_of_prefix() {
    for (prefix, pos_prefix, pos) in [(0, 0, true), (1, 1, true), (1, 0, true), (5, 1, true), (2, 2, false)] {
        let op = Tokens { batch: 3, patches: 7, width: 10, prefix, pos_prefix, pos };
        check(&format!("tokens {prefix} {pos_prefix} {pos}"), &Op::Tokens(op), EXACT);
    }
}

#[test]
fn pool_and_add() {
    use PoolKind::{AvgMax, Max, Mean, Token};
    for kind in [Token(0), Token(4), Mean(0), Mean(2), Max(0), Max(3), AvgMax(1)] {
        let op = Pool::new(3, 6, 22, kind);
        check(&format!("{kind:?}"), &Op::Pool(op.clone()), OP);
        check(&format!("{kind:?} in columns"), &Op::Pool(Pool { col: 5, ld: 30, ..op }), OP);
    }
    check("add", &Op::Add(Add { len: 77, scale: 0.5 }), EXACT);
}

#[test]
fn gated_linear_units() {
    for (act, rows, width) in [(Activation::Silu, 7, 22), (Activation::Gelu, 1, 65), (Activation::GeluTanh, 3, 1)] {
        check(&format!("{act:?} gate"), &Op::Glu(Glu { rows, width, act }), OP);
    }
}

#[test]
fn more_workgroups_than_one_dimension_holds() {
    // 65,536 groups: one over the limit of a dispatch dimension.
    check("many groups", &Op::LayerNorm(LayerNorm { groups: 65_536, len: 2, eps: 1e-2, rms: false }), OP);
    check("many values", &Op::Add(Add { len: 65_536 * 64, scale: 2.0 }), EXACT);
}

/// Shapes from a hash, each with another set of options: eight as a rule, as many as VIT_GPU_SWEEP says (`./test --full`).
#[test]
fn a_sweep_of_shapes() {
    let count = std::env::var("VIT_GPU_SWEEP").map_or(8, |count| count.parse().unwrap());
    let sweep = if device::full() { check } else { check_once };
    let acts = [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu];
    for i in 0..count {
        let stream = HashedValues::new("sweep", i);
        let pick = |which: usize, from: usize, to: usize| {
            from + ((stream.get(which) + 1.0) / 2.0 * (to - from) as f32) as usize
        };
        // Every other shape is a multiple of 4, so that both kinds of kernels are met.
        let size = |which, to| if i % 2 == 0 { 4 * pick(which, 1, to / 4) } else { pick(which, 1, to) };
        let (m, k, n) = (pick(0, 1, 150), size(1, 300), size(2, 200));
        let flag = |which| stream.get(which) > 0.0;
        let act = acts[pick(3, 0, acts.len())];
        let op = Linear { act, bias: flag(4), gamma: flag(5), residual: flag(6), ..Linear::new(m, k, n) };
        sweep(&format!("{op:?}"), &Op::Linear(op.clone()), OP);
        // Every head width is a shader of its own, which software adapters take seconds to compile.
        let d = [1, 12, 12, 30, 64, 72, 80, 128, 256][pick(10, 0, if device::full() { 9 } else { 5 })];
        let (outer, len, heads) = (pick(7, 1, 3), pick(8, 1, 140), pick(9, 1, 4));
        let op = Attention::packed(outer, len, heads, d, 2.0 * (d as f32).powf(-0.5));
        sweep(&format!("{op:?}"), &Op::Attention(op.clone()), OP);
        let op = LayerNorm::over(&[pick(11, 1, 40), pick(12, 1, 400)], 1, 1e-6);
        check(&format!("{op:?}"), &Op::LayerNorm(op.clone()), Tolerance { absolute: 1e-4, relative: 1e-4 });
    }
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let op = Op::Linear(Linear { bias: true, ..Linear::new(2, 3, 4) });
    let (x, w, short) = (values("x", 6), values("w", 12), values("b", 3));
    let mut out = [0.0; 8];
    let operands = [Some(Data::F32(&x)), Some(Data::F32(&w)), Some(Data::F32(&short)), None, None];
    let error = op.reference(&operands, &mut out).unwrap_err().to_string();
    assert_eq!(error, "linear: operand 2: 4 floats expected, 3 floats given");
    assert!(op.reference(&operands[..4], &mut out).is_err());
    assert!(op.reference(&[operands[0], operands[1], None, None, None], &mut out).is_err());
    let good = values("b", 4);
    let operands = [operands[0], operands[1], Some(Data::F32(&good)), None, None];
    assert!(op.reference(&operands, &mut out[..7]).is_err());
    assert!(op.reference(&operands, &mut out).is_ok());
}

#[test]
fn the_width_of_subgroups_is_within_what_the_adapter_reports() {
    for executor in device::executors() {
        let Some((least, most)) = executor.gpu.report().subgroups else { continue };
        let width = pollster::block_on(executor.gpu.subgroup_width()).unwrap();
        assert!(width.is_some_and(|width| (least..=most).contains(&width)), "{width:?} of {least} to {most}");
    }
}
