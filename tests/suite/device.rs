//! The devices tests run on: the adapter named in VIT_GPU_TEST_DEVICE, else the first one found, software or not.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use vit_gpu::internals::device::Kernels;
use vit_gpu::internals::gpu::GpuExecutor;
use vit_gpu::internals::model::WeightLoader;
use vit_gpu::internals::ops::Op;
use vit_gpu::{Device, Precision};

/// `--device` argument of the adapter under test.
pub fn name() -> String {
    std::env::var("VIT_GPU_TEST_DEVICE").unwrap_or_else(|_| "0".into())
}

/// The checkout; VIT_GPU_TEST_ROOT where its files lie elsewhere than where the tests were built.
pub fn root() -> PathBuf {
    std::env::var_os("VIT_GPU_TEST_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The adapter under test.
pub fn request() -> Device {
    name().parse().unwrap()
}

struct NoWeights;

impl WeightLoader for NoWeights {
    fn load(&self, name: &str, _: usize, _: &mut [f32]) -> vit_gpu::Result<()> {
        panic!("operations alone load no weights, asked for {name}")
    }
}

/// A device open with one family of kernels in one precision.
pub struct Executor {
    pub family: Kernels,
    pub precision: Precision,
    pub gpu: GpuExecutor,
}

/// An executor for single operations, one per family of kernels and precision that the adapter can run.
pub fn executors() -> &'static [Executor] {
    static EXECUTORS: OnceLock<Vec<Executor>> = OnceLock::new();
    EXECUTORS.get_or_init(|| {
        let all = families().into_iter().filter_map(|(family, precision)| {
            let request = request();
            let open = GpuExecutor::open(&request, family, precision, Arc::new(NoWeights));
            let gpu = pollster::block_on(open).ok()??;
            // What `auto` takes on software adapters is there already.
            if family == Kernels::Auto && gpu.report().is_software() {
                return None;
            }
            Some(Executor { family, precision, gpu })
        });
        let all: Vec<_> = all.collect();
        assert_eq!(all.first().map(|e| e.family), Some(Kernels::Portable), "a Vulkan, Metal or DX12 adapter");
        all
    })
}

/// Families of kernels with the precisions they run in; not every adapter has all.
pub fn families() -> [(Kernels, Precision); 6] {
    [
        (Kernels::Portable, Precision::F32),
        (Kernels::Software, Precision::F32),
        (Kernels::Portable, Precision::F16),
        (Kernels::Software, Precision::F16),
        (Kernels::Matrix, Precision::F16),
        (Kernels::Auto, Precision::F16),
    ]
}

/// Whether everything is tried that could be: `./test --full`.
pub fn full() -> bool {
    std::env::var("VIT_GPU_SWEEP").is_ok()
}

/// The kernels to try an operation with. Software adapters take seconds to compile what has barriers, the more the wider
/// the head: there the tiled attention is tried at one width, at all in `./test --full`.
pub fn kernels(executor: &Executor, op: &Op) -> Vec<Option<&'static str>> {
    let software = executor.gpu.report().is_software();
    let all = executor.gpu.candidates(op);
    let few = software && !full();
    match op {
        Op::Attention(op) if few && executor.family != Kernels::Software => {
            let quick = |name: &str| ["attention_direct", "attention_rows"].contains(&name);
            all.into_iter().filter(|name| op.head_dim == 12 || quick(name)).map(Some).collect()
        }
        _ if all.is_empty() => vec![None],
        _ => all.into_iter().map(Some).collect(),
    }
}

/// The first of [`kernels`] alone, where it is the operation's options that matter.
pub fn first_kernel(executor: &Executor, op: &Op) -> Vec<Option<&'static str>> {
    let mut all = kernels(executor, op);
    all.truncate(1);
    all
}

/// An executor of its own, for a test that breaks it.
pub fn fresh() -> GpuExecutor {
    let request = request();
    let open = GpuExecutor::open(&request, Kernels::Portable, Precision::F32, Arc::new(NoWeights));
    pollster::block_on(open).expect("an adapter").expect("a GPU")
}
