//! The processor's operations at ViT-B/16's shapes, and the whole model: each checked, then timed.
//!
//! `cargo bench` runs all, `cargo bench -- fc1` those named so. Items are floating-point operations, a multiply-add being
//! two, so that `Gitem/s` reads as GFLOP/s.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use vit_gpu::internals::checkpoint::{Checkpoint, Tensors};
use vit_gpu::internals::cpu::CpuExecutor;
use vit_gpu::internals::executor;
use vit_gpu::internals::graph::{Dtype, Graph, Plan};
use vit_gpu::internals::model::WeightLoader;
use vit_gpu::internals::model::random::HashedValues;
use vit_gpu::internals::ops::{
    Activation, Add, Attention, Data, Glu, LayerNorm, Linear, Op, PixelSource, Pool, PoolKind, Tokens, Unfold,
};
use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Device, Precision, Session};

fn main() {
    divan::main();
}

const TOKENS: usize = 197;
const WIDTH: usize = 768;
const HIDDEN: usize = 3072;

const OPS: [&str; 12] =
    ["unfold", "tokens", "norm", "qkv", "attention", "proj", "fc1", "fc2", "glu", "pool mean", "pool max", "add"];

fn op(name: &str, batch: usize) -> Op {
    let rows = batch * TOKENS;
    let linear = |k, n| Linear { bias: true, ..Linear::new(rows, k, n) };
    let pool = |kind| Op::Pool(Pool::new(batch, TOKENS, WIDTH, kind));
    match name {
        "unfold" => {
            let (size, patch) = ((224, 224), (16, 16));
            Op::Unfold(Unfold { batch, chans: 3, size, patch, source: PixelSource::Planes })
        }
        "tokens" => Op::Tokens(Tokens { batch, patches: 196, width: WIDTH, prefix: 1, pos_prefix: 1, pos: true }),
        "norm" => Op::LayerNorm(LayerNorm { groups: rows, len: WIDTH, eps: 1e-6, rms: false }),
        "qkv" => Op::Linear(linear(WIDTH, 3 * WIDTH)),
        "attention" => Op::Attention(Attention::packed(batch, TOKENS, 12, 64, 0.125)),
        "proj" => Op::Linear(Linear { residual: true, ..linear(WIDTH, WIDTH) }),
        "fc1" => Op::Linear(Linear { act: Activation::Gelu, ..linear(WIDTH, HIDDEN) }),
        "fc2" => Op::Linear(Linear { residual: true, ..linear(HIDDEN, WIDTH) }),
        "glu" => Op::Glu(Glu { rows, width: HIDDEN, act: Activation::Silu }),
        "pool mean" => pool(PoolKind::Mean(1)),
        "pool max" => pool(PoolKind::Max(1)),
        _ => Op::Add(Add { len: rows * WIDTH, scale: 1.0 }),
    }
}

/// Weights from an integer hash, as small as a layer's are.
struct Weights;

impl WeightLoader for Weights {
    fn load(&self, name: &str, _: usize, out: &mut [f32]) -> vit_gpu::Result<()> {
        let values = HashedValues::new(name, 0);
        out.iter_mut().enumerate().for_each(|(i, value)| *value = 0.05 * values.get(i));
        Ok(())
    }
}

/// How far apart two results are, relative to the second's length.
fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let apart: f64 = got.iter().zip(want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let length: f64 = want.iter().map(|b| f64::from(*b).powi(2)).sum();
    (apart / length).sqrt()
}

fn limit(precision: Precision) -> f64 {
    if precision == Precision::I8 { 2e-2 } else { 1e-5 }
}

/// One operation as a graph of its own.
struct Alone {
    plan: Arc<Plan>,
    executor: CpuExecutor,
    inputs: Vec<(String, Vec<f32>)>,
}

impl Alone {
    /// Checked against the plain reference.
    fn new(op: &Op, precision: Precision) -> Alone {
        let mut graph = Graph::new(precision);
        let (mut inputs, mut ids, mut operands) = (Vec::new(), Vec::new(), Vec::new());
        for (i, len) in op.operand_lens().into_iter().enumerate() {
            let Some(len) = len else {
                ids.push(None);
                operands.push(None);
                continue;
            };
            let (name, mut values) = (format!("blocks.0.{i}"), vec![0.0; len]);
            Weights.load(&name, 0, &mut values).unwrap();
            ids.push(Some(match op {
                // Weights are laid out once, at load.
                Op::Linear(op) if i == 1 => graph.weight(&name, &[op.n, op.k]),
                _ => {
                    inputs.push((name.clone(), values.clone()));
                    graph.input(&name, &[len], Dtype::F32)
                }
            }));
            operands.push(Some(values));
        }
        let y = graph.activation("y", &[op.output_len()]);
        graph.push("op", op.clone(), ids, y).unwrap();
        graph.output("y", y).unwrap();
        let plan = Arc::new(Plan::new(graph, u64::MAX).unwrap());
        let executor = CpuExecutor::new(Arc::new(Weights), 0).unwrap();
        let alone = Alone { plan, executor, inputs };

        let mut want = vec![0.0; op.output_len()];
        let operands: Vec<_> = operands.iter().map(|values| values.as_deref().map(Data::F32)).collect();
        op.reference(&operands, &mut want).unwrap();
        let far = distance(&alone.run(), &want);
        assert!(far <= limit(precision), "{} is off by {far:e}", op.name());
        alone
    }

    fn run(&self) -> Vec<f32> {
        let inputs: Vec<_> = self.inputs.iter().map(|(name, values)| (name.as_str(), Data::F32(values))).collect();
        executor::run(&self.executor, &self.plan, &inputs).unwrap().remove(0)
    }
}

fn time(bencher: Bencher<'_, '_>, op: &Op, precision: Precision) {
    let alone = Alone::new(op, precision);
    bencher.counter(ItemsCount::new(op.cost(4).flop as u64)).bench(|| alone.run());
}

#[divan::bench(args = OPS, sample_count = 20)]
fn batch_1(bencher: Bencher<'_, '_>, name: &str) {
    time(bencher, &op(name, 1), Precision::F32);
}

#[divan::bench(args = OPS, sample_count = 10)]
fn batch_8(bencher: Bencher<'_, '_>, name: &str) {
    time(bencher, &op(name, 8), Precision::F32);
}

#[divan::bench(args = ["qkv", "proj", "fc1", "fc2"], sample_count = 20)]
fn batch_1_i8(bencher: Bencher<'_, '_>, name: &str) {
    time(bencher, &op(name, 1), Precision::I8);
}

/// One image from bytes to classes, after PyTorch's logits of other pixels were met.
#[divan::bench(args = ["f32", "i8"], sample_count = 10, sample_size = 1)]
fn vit_base_patch16_224(bencher: Bencher<'_, '_>, precision: &str) {
    let checkpoint = Checkpoint::open("random:vit_base_patch16_224@0").unwrap();
    let precision = precision.parse().unwrap();
    let options = Session::builder().device(Device::Cpu).precision(precision);
    let session = options.build(checkpoint).unwrap();

    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/vit_base_patch16_224.safetensors");
    let (_, want) = Tensors::open(golden.as_ref()).unwrap().values("logits").unwrap();
    let values = HashedValues::new("vit_base_patch16_224", 0);
    let planes: Vec<f32> = (0..3 * 224 * 224).map(|i| values.get(i)).collect();
    let outputs = session.forward(&planes, false).unwrap();
    let far = distance(&outputs.get("logits").unwrap().values, &want);
    assert!(far <= limit(precision), "its logits are off by {far:e}");

    let data = planes.iter().map(|value| ((value + 1.0) * 127.99) as u8).collect();
    let pixels = [Pixels { size: (224, 224), data }];
    let flop = session.footprint(1).unwrap().1.flop;
    bencher.counter(ItemsCount::new(flop as u64)).bench(|| session.classify_pixels(&pixels, 5).unwrap());
}
