//! What is too large for a binding is cut, and the pieces give the whole's numbers.

use std::fs;
use std::sync::Arc;

use safetensors::Dtype;
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::cpu::CpuExecutor;
use vit_gpu::internals::executor;
use vit_gpu::internals::graph::{Graph, Plan};
use vit_gpu::internals::model::random::{HashedValues, spread};
use vit_gpu::internals::model::{Input, Maps, Request, Taps, VitConfig, WeightLoader, build, weight_specs};
use vit_gpu::internals::ops::{Data, Op};
use vit_gpu::{Device, Precision, Result, Session};

use crate::checkpoints::{TensorMap, write_model};
use crate::compare::{OP, assert_close, distance};
use crate::device;

struct Hashed(VitConfig);

impl WeightLoader for Hashed {
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()> {
        let spec = weight_specs(&self.0).unwrap().into_iter().find(|spec| spec.name == name).unwrap();
        let (center, width) = spread(name, &spec.shape);
        let first = first_row * spec.shape[1..].iter().product::<usize>();
        let values = HashedValues::new(name, 5);
        out.iter_mut().enumerate().for_each(|(i, out)| *out = center + width * values.get(first + i));
        Ok(())
    }
}

fn run(cfg: &VitConfig, graph: &Graph) -> Vec<Vec<f32>> {
    let executor = CpuExecutor::new(Arc::new(Hashed(cfg.clone())), 1).unwrap();
    let values = HashedValues::new("pixels", 0);
    let pixels: Vec<f32> = (0..2 * 3 * cfg.img_size.0 * cfg.img_size.1).map(|i| values.get(i)).collect();
    let plan = Arc::new(Plan::new(graph.clone(), u64::MAX).unwrap());
    executor::run(&executor, &plan, &[("pixel_values", Data::F32(&pixels))]).unwrap()
}

fn linears(graph: &Graph, label: &str) -> usize {
    graph.nodes().iter().filter(|node| node.label == label && matches!(node.op, Op::Linear(_))).count()
}

#[test]
fn a_small_limit_cuts_qkv_the_mlp_and_the_head_without_changing_results() {
    let mut cfg = VitConfig::plain(32, 8, 32, 2, 4);
    (cfg.mlp_hidden, cfg.num_classes) = (160, 300);
    let request = Request {
        batch: 2,
        input: Input::Planes,
        last_hidden_state: true,
        taps: Taps::All,
        maps: Maps::None,
        precision: Precision::F32,
    };
    let whole = build(&cfg, request, u64::MAX).unwrap();
    let limit = 25_000; // the image input is the largest tensor that is never cut
    let cut = build(&cfg, request, limit).unwrap();
    assert_eq!((linears(&whole, "blocks.0.attn.qkv"), linears(&cut, "blocks.0.attn.qkv")), (1, 1));
    assert_eq!((linears(&whole, "head"), linears(&cut, "head")), (1, 2));
    let tighter = build(&cfg, request, 12_500).unwrap();
    assert_eq!(linears(&tighter, "blocks.1.attn.qkv"), 3);
    assert!(linears(&tighter, "blocks.1.mlp.fc1") > 1);
    for graph in [&cut, &tighter] {
        for ((got, want), (name, _)) in run(&cfg, graph).iter().zip(run(&cfg, &whole)).zip(whole.outputs()) {
            // The processor's product sums in another order at other widths.
            assert_close(name, got, &want, OP);
        }
    }
    assert!(Plan::new(cut.clone(), limit).is_ok());
    let error = Plan::new(tighter.clone(), 12_500).unwrap_err().to_string();
    assert_eq!(error, "tensor `pixel_values` needs 24576 bytes, but a buffer on this device can have at most 12500");
}

#[test]
fn l16_at_1456_pixels_fits_128_mib_bindings_at_batch_1() {
    let mut cfg = VitConfig::plain(1456, 16, 1024, 24, 16);
    cfg.num_classes = 21_843;
    let request = Request {
        batch: 1,
        input: Input::Bytes,
        last_hidden_state: false,
        taps: Taps::None,
        maps: Maps::None,
        precision: Precision::F32,
    };
    let limit = 128 << 20;
    let graph = build(&cfg, request, limit).unwrap();
    assert_eq!(linears(&graph, "blocks.0.mlp.fc1"), 2);
    let plan = Plan::new(graph, limit).unwrap();
    assert!(plan.slots().iter().all(|&bytes| bytes <= limit));
    assert!(Plan::new(build(&cfg, request, u64::MAX).unwrap(), limit).is_err());
}

/// Halves are written to the device in whole words: rows of an odd length, more of them than one piece holds.
#[test]
fn an_odd_number_of_classes_is_uploaded_in_halves() {
    if device::executors().iter().all(|executor| !executor.gpu.report().f16) {
        return;
    }
    let mut cfg = VitConfig::plain(4, 4, 384, 1, 6);
    (cfg.mlp_hidden, cfg.num_classes) = (8, 11_221);
    let (loader, mut map) = (Hashed(cfg.clone()), TensorMap::new());
    for spec in weight_specs(&cfg).unwrap() {
        let (name, shape) = match spec.name.as_str() {
            "prefix_tokens" => ("cls_token", vec![1, 1, 384]),
            "pos_embed" => ("pos_embed", vec![1, 2, 384]),
            "patch_embed.proj.weight" => (spec.name.as_str(), vec![384, 3, 4, 4]),
            name => (name, spec.shape.clone()),
        };
        let mut values = vec![0.0; shape.iter().product()];
        loader.load(&spec.name, 0, &mut values).unwrap();
        map.insert(name.to_owned(), (Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model.safetensors"), &map);
    fs::write(folder.path().join("config.json"), r#"{"num_heads": 6}"#).unwrap();
    let checkpoint = Checkpoint::open(folder.path().to_str().unwrap()).unwrap();
    let pixels: Vec<f32> = (0..48).map(|i| HashedValues::new("pixels", 0).get(i)).collect();
    let logits = |device, precision| {
        let options = Session::builder().device(device).precision(precision);
        let session = options.build(checkpoint.clone()).unwrap();
        session.forward(&pixels, false).unwrap().get("logits").unwrap().values.clone()
    };
    let got = logits(device::request(), Precision::F16);
    let far = distance(&got, &logits(Device::Cpu, Precision::F32)).unwrap();
    assert!(far < 1e-2, "{far:e}");
}
