//! Runs plans on the processor, on threads of its own; operations that take little time run by `ops/`'s plain functions.

mod amx;
mod attention;
mod attention_map;
mod bf16x3;
mod glu;
mod int8;
mod layer_norm;
mod linear;
mod math;
mod memory;
mod pack;
mod pages;
mod peak;
mod pool;
mod prefetch;
mod run;
mod weights;

use std::sync::{Arc, Mutex, PoisonError};

use memory::Memory;
use pool::Pool;
use run::{Owned, Run};
use weights::{OfTensors, Weights, load, of_tensors};

use crate::error::{Error, Result};
use crate::executor::{Executor, Inputs, Later, Peak, Running, job};
use crate::graph::Plan;
use crate::model::WeightLoader;

pub use run::run_op;

/// Weights and threads of one model on the processor.
///
/// Whoever starts a run waits for a thread of this executor's own, and holds no lock that those threads need: so any thread may
/// call, one of another thread pool too.
pub struct CpuExecutor {
    loader: Arc<dyn WeightLoader>,
    weights: async_lock::Mutex<Weights>,
    /// What runs write to, kept for the next one.
    memory: Arc<Mutex<Vec<Memory>>>,
    /// One turn: a run uses all threads, so a second one at a time would only take more memory.
    turn: Arc<async_lock::Semaphore>,
    threads: Pool,
}

impl CpuExecutor {
    /// Makes an executor with `threads` worker threads (0: one per available core).
    ///
    /// # Errors
    /// [`Error::Device`] if the threads can't be started.
    pub fn new(loader: Arc<dyn WeightLoader>, threads: usize) -> Result<Self> {
        let threads = Pool::new(threads)?;
        let turn = Arc::new(async_lock::Semaphore::new(1));
        Ok(CpuExecutor { loader, weights: Default::default(), memory: Arc::default(), turn, threads })
    }

    /// Whether this processor has the instructions that make [`crate::graph::Precision::I8`] faster than f32: AVX-512's VNNI.
    #[must_use]
    pub fn has_dot_products() -> bool {
        int8::dot_products()
    }

    /// Whether this processor has matrix instructions for bfloat16 and bytes (Intel's AMX), which all products in blocks then use.
    #[must_use]
    pub fn has_matrix_instructions() -> bool {
        amx::Amx::here().is_some()
    }

    /// Runs a closure on a thread of the pool; a panic of it is the caller's.
    fn on_pool<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Later<'static, T> {
        let (job, done) = job(work);
        self.threads.spawn(job);
        Box::pin(done)
    }

    /// The weights of a plan's tensors, loaded where they are not there yet.
    async fn weights_of(&self, plan: &Arc<Plan>) -> Result<OfTensors> {
        let mut weights = self.weights.lock().await;
        if let Some(found) = of_tensors(&weights, plan.graph()) {
            return Ok(found);
        }
        let (loader, planned) = (Arc::clone(&self.loader), Arc::clone(plan));
        let known = weights.keys().cloned().collect();
        weights.extend(self.on_pool(move || load(&*loader, planned.graph(), &known)).await?);
        of_tensors(&weights, plan.graph()).ok_or_else(|| Error::shape("weights", "were not loaded"))
    }

    async fn begin(&self, plan: &Arc<Plan>, inputs: &Inputs<'_>) -> Result<Running> {
        let weights = self.weights_of(plan).await?;
        let turn = self.turn.acquire_arc().await;
        let inputs = inputs.iter().map(|(name, data)| ((*name).to_owned(), Owned::new(*data))).collect();
        let run = Run { plan: Arc::clone(plan), inputs, weights };
        let memory = Arc::clone(&self.memory);
        let done = self.on_pool(move || {
            let kept = || memory.lock().unwrap_or_else(PoisonError::into_inner);
            let mut own = kept().pop().unwrap_or_default();
            let results = run.execute(&mut own);
            if results.is_ok() {
                kept().push(own);
            }
            drop(turn);
            results
        });
        Ok(Running::new(done))
    }
}

impl Executor for CpuExecutor {
    fn name(&self) -> &str {
        "cpu"
    }

    fn max_tensor_bytes(&self) -> u64 {
        isize::MAX as u64
    }

    fn busy_batch(&self) -> usize {
        4
    }

    fn start<'a>(&'a self, plan: &'a Arc<Plan>, inputs: &'a Inputs<'a>) -> Later<'a, Result<Running>> {
        Box::pin(self.begin(plan, inputs))
    }

    fn peak(&self) -> Later<'_, Result<Peak>> {
        Box::pin(async { Ok(self.on_pool(peak::measure).await) })
    }
}
