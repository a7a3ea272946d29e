//! The devices tests run on: the adapter named in VIT_GPU_TEST_DEVICE, else the first one found, software or not.

use std::sync::{Arc, OnceLock};

use vit_gpu::gpu::{DeviceRequest, GpuExecutor, Kernels};
use vit_gpu::model::WeightLoader;

/// `--device` argument of the adapter under test.
pub fn name() -> String {
    std::env::var("VIT_GPU_TEST_DEVICE").unwrap_or_else(|_| "0".into())
}

struct NoWeights;

impl WeightLoader for NoWeights {
    fn load(&self, name: &str, _: usize, _: &mut [f32]) -> vit_gpu::Result<()> {
        panic!("operations alone load no weights, asked for {name}")
    }
}

/// An executor for single operations, one per family of kernels the adapter can run.
pub fn executors() -> &'static [(Kernels, GpuExecutor)] {
    static EXECUTORS: OnceLock<Vec<(Kernels, GpuExecutor)>> = OnceLock::new();
    EXECUTORS.get_or_init(|| {
        let open = |kernels| {
            let request = DeviceRequest::Named(name());
            pollster::block_on(GpuExecutor::open(&request, kernels, Arc::new(NoWeights)))
        };
        let portable = open(Kernels::Portable).expect("a Vulkan, Metal or DX12 adapter").expect("a GPU");
        let mut all = vec![(Kernels::Portable, portable)];
        if let Ok(Some(executor)) = open(Kernels::Software) {
            all.push((Kernels::Software, executor));
        }
        all
    })
}

/// Whether an operation is tried with a family of kernels here. Software adapters take seconds to compile what has
/// barriers, the more the wider the head: there the portable attention is tried at a few widths, at all in `./test --full`.
pub fn tries(kernels: Kernels, op: &vit_gpu::ops::Op) -> bool {
    let few = executors().len() > 1 && std::env::var("VIT_GPU_SWEEP").is_err();
    match op {
        vit_gpu::ops::Op::Attention(op) if few && kernels == Kernels::Portable => [12, 30].contains(&op.head_dim),
        _ => true,
    }
}

/// An executor of its own, for a test that breaks it.
pub fn fresh() -> GpuExecutor {
    let request = DeviceRequest::Named(name());
    let open = GpuExecutor::open(&request, Kernels::Portable, Arc::new(NoWeights));
    pollster::block_on(open).expect("an adapter").expect("a GPU")
}
