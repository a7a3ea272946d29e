//! What runs plans: the processor or a GPU, behind one trait. A run is started, and finished.

#[cfg(any(feature = "gpu", feature = "cpu"))]
mod clock;
mod report;
mod signal;
mod wait;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(any(feature = "gpu", feature = "cpu"))]
pub use clock::Instant;
pub use report::{Choice, OpTime, Peak, Startup, Tuning};
pub use signal::{Signal, job};
pub use wait::wait;

use crate::error::Result;
use crate::graph::Plan;
use crate::ops::Data;

/// Something that is awaited.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Inputs of a run, by the names of the graph's inputs.
pub type Inputs<'a> = [(&'a str, Data<'a>)];

/// A device that holds one model's weights and runs plans of it.
pub trait Executor: Send + Sync {
    /// The adapter's name, or `cpu`.
    fn name(&self) -> &str;

    /// The largest tensor that a plan for it may hold, in bytes.
    fn max_tensor_bytes(&self) -> u64;

    /// How many images at a time keep it busy.
    fn busy_batch(&self) -> usize;

    /// Starts a run: loads the weights that are not there yet and hands the work over. `inputs` are read before this is ready.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for a missing or wrong input; whatever reading the weights can fail with; errors of the device.
    fn start<'a>(&'a self, plan: &'a Arc<Plan>, inputs: &'a Inputs<'a>) -> Later<'a, Result<Running>>;

    /// Measures what it can do at most.
    ///
    /// # Errors
    /// Errors of the device.
    fn peak(&self) -> Later<'_, Result<Peak>>;

    /// Runs a plan and takes the time of each operation; `None` where there are no timers for that.
    ///
    /// # Errors
    /// As [`Executor::start`].
    fn profile<'a>(&'a self, _plan: &'a Arc<Plan>, _inputs: &'a Inputs<'a>) -> Later<'a, Result<Option<Vec<OpTime>>>> {
        Box::pin(async { Ok(None) })
    }

    /// What was chosen by measurement so far.
    fn tuning(&self) -> Tuning {
        Tuning::default()
    }

    /// Seconds spent so far on what is done once; `None` where that is only reading weights.
    fn startup(&self) -> Option<Startup> {
        None
    }
}

/// A run that was started. Dropping it gives up on its results, nothing else.
pub struct Running(Later<'static, Result<Vec<Vec<f32>>>>);

impl Running {
    /// A run whose results, in the order of the graph's outputs, `finish` gives.
    pub fn new(finish: impl Future<Output = Result<Vec<Vec<f32>>>> + Send + 'static) -> Running {
        Running(Box::pin(finish))
    }

    /// Waits for the results, in the order of the graph's outputs.
    ///
    /// # Errors
    /// Errors of the device.
    pub async fn finish(self) -> Result<Vec<Vec<f32>>> {
        self.0.await
    }
}

/// Runs a plan and waits for its results, in the order of the graph's outputs.
///
/// # Errors
/// As [`Executor::start`].
pub fn run(executor: &dyn Executor, plan: &Arc<Plan>, inputs: &Inputs<'_>) -> Result<Vec<Vec<f32>>> {
    wait(async { executor.start(plan, inputs).await?.finish().await })
}
