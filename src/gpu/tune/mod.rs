//! Chooses the fastest kernel for each operation by measuring on the device. Kernels that don't match the reference there are left out.
//!
//! Each combination of operation and shape class is measured once, before the first result. The choice is kept on
//! disk for each adapter, driver and version of this crate. On software adapters, with `--kernels` and with `VIT_GPU_TUNE=off`, the
//! first candidate of the static table is used. `VIT_GPU_TUNE=always` measures on software adapters too.

mod store;
mod trial;

use std::collections::{BTreeMap, HashMap};

use self::store::{Mark, Store};
use self::trial::Trial;
use super::device::OpenDevice;
use super::kernels::{Capabilities, candidates};
use crate::device::{Adapter, Kernels};
use crate::error::{Error, Result};
use crate::executor::Choice;
use crate::ops::{Attention, Linear, Op};

/// The kernels chosen so far.
pub struct Tuner {
    on: bool,
    chosen: HashMap<String, &'static str>,
    log: Vec<Choice>,
    store: Store,
}

impl Tuner {
    pub fn new(report: &Adapter, capabilities: Capabilities, kernels: Kernels) -> Tuner {
        let wish = std::env::var("VIT_GPU_TUNE").unwrap_or_default();
        let on = match wish.as_str() {
            "off" => false,
            "always" => true,
            _ => kernels == Kernels::Auto && !report.is_software(),
        };
        // With a deliberately broken kernel (`VIT_GPU_BREAK_KERNEL`, `VIT_GPU_FAIL_KERNEL`), nothing is written to disk.
        let remember = on && capabilities.broken.is_none() && capabilities.unbuildable.is_none();
        let store = if remember { Store::open(report, capabilities) } else { Store::default() };
        Tuner { on, chosen: HashMap::new(), log: Vec::new(), store }
    }

    /// The kernel for an operation; `None` means the first one of the static table.
    ///
    /// # Errors
    /// [`Error::Device`] if no candidate matches the reference; errors of the device.
    pub async fn kernel(
        &mut self,
        device: &OpenDevice,
        capabilities: Capabilities,
        op: &Op,
    ) -> Result<Option<&'static str>> {
        let able = self.able(op, capabilities);
        if !self.on {
            return Ok(able.first().copied());
        }
        let (Some((class, op)), true) = (class(op), able.len() > 1) else { return Ok(None) };
        if let Some(kernel) = self.chosen.get(&class) {
            return Ok(Some(kernel));
        }
        let remembered = self.store.choice(&class).and_then(|name| able.iter().copied().find(|kernel| *kernel == name));
        let (kernel, seconds) = match remembered {
            Some(kernel) => (kernel, None),
            None => match self.measure(device, capabilities, &class, &op, &able).await {
                Ok((kernel, seconds)) => (kernel, Some(seconds)),
                // With a large model there may be too little memory for the measurement; the model needs it more.
                Err(Error::OutOfMemory { .. }) => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        self.log.push(Choice { class: class.clone(), kernel: kernel.to_owned(), seconds });
        self.chosen.insert(class, kernel);
        Ok(Some(kernel))
    }

    /// The candidates that were not dropped.
    fn able(&self, op: &Op, capabilities: Capabilities) -> Vec<&'static str> {
        let mut able = candidates(op, capabilities);
        able.retain(|kernel| !self.store.dropped().contains_key(*kernel));
        able
    }

    /// The kernel to take instead of one that does not compile, which is dropped; `None` if it was the last.
    pub fn instead(&mut self, op: &Op, capabilities: Capabilities, failed: &str, reason: &str) -> Option<&'static str> {
        let next = self.able(op, capabilities).into_iter().find(|kernel| *kernel != failed)?;
        self.store.drop_kernel(failed, reason);
        self.chosen.retain(|_, kernel| *kernel != failed);
        Some(next)
    }

    /// Runs every candidate, drops those that fail or don't match the reference, and takes the fastest.
    async fn measure(
        &mut self,
        device: &OpenDevice,
        capabilities: Capabilities,
        class: &str,
        op: &Op,
        able: &[&'static str],
    ) -> Result<(&'static str, f64)> {
        let trial = Trial::new(device, capabilities, op).await?;
        // Should the process die now, later sessions find the mark.
        let mut mark = self.store.trial(class);
        let mut right = Vec::new();
        for &kernel in able {
            if self.store.dropped().contains_key(kernel) {
                continue;
            }
            if self.attempt(device, &mut mark, kernel, trial.check(kernel)).await?.is_some() {
                right.push((kernel, f64::INFINITY));
            }
        }
        // Candidates take turns, so that a change of the clock rate affects all of them. The shortest time of each counts.
        for _ in 0..3 {
            let mut still = Vec::new();
            for (kernel, best) in right {
                let seconds = self.attempt(device, &mut mark, kernel, trial.seconds(kernel)).await?;
                still.extend(seconds.map(|seconds| (kernel, best.min(seconds))));
            }
            right = still;
        }
        let fastest = right.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let Some((kernel, seconds)) = fastest else {
            let reasons: Vec<_> = self.store.dropped().iter().map(|(kernel, why)| format!("{kernel}: {why}")).collect();
            return Err(device.error(format!("no kernel gives the right numbers for {class} ({})", reasons.join("; "))));
        };
        self.store.choose(class, kernel);
        Ok((kernel, seconds))
    }

    /// A step of a kernel's trial, which the mark tells of; `None` if the kernel failed, which drops it.
    async fn attempt<T>(
        &mut self,
        device: &OpenDevice,
        mark: &mut Option<Mark>,
        kernel: &str,
        step: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        if let Some(mark) = mark {
            self.store.trying(mark, kernel);
        }
        let ended = step.await;
        // Whatever the step says, if the device is gone then that is what happened.
        let ended = if ended.is_err() { device.check().and(ended) } else { ended };
        let reason = match ended {
            Ok(value) => return Ok(Some(value)),
            Err(error @ Error::DeviceLost { .. }) => {
                mark.take().into_iter().for_each(Mark::leave);
                return Err(error);
            }
            Err(error @ Error::OutOfMemory { .. }) => return Err(error),
            Err(Error::Shape { reason, .. } | Error::Device { reason, .. }) => reason,
            Err(error) => error.to_string(),
        };
        self.store.drop_kernel(kernel, &reason);
        Ok(None)
    }

    /// What was chosen, in the order it was needed.
    pub fn log(&self) -> &[Choice] {
        &self.log
    }

    /// Kernels that are not used on this adapter, each with the reason.
    pub fn dropped(&self) -> &BTreeMap<String, String> {
        self.store.dropped()
    }
}

/// The most rows in a measurement: enough to fill any GPU, and few enough to be quick.
const TRIAL_ROWS: usize = 4096;
/// The most sequences times heads in a measurement.
const TRIAL_HEADS: usize = 768;

/// The shape class of an operation, and the operation that is measured for this class.
fn class(op: &Op) -> Option<(String, Op)> {
    match op {
        Op::Linear(op) => {
            let m = op.m.next_power_of_two().min(TRIAL_ROWS);
            let parts = [(op.bias, "bias"), (op.gamma, "gamma"), (op.residual, "residual")];
            let epilogue: String =
                parts.iter().filter(|(there, _)| *there).map(|(_, name)| format!(" {name}")).collect();
            let class = format!("linear m<={m} k={} n={} {:?}{epilogue}", op.k, op.n, op.act);
            // The class is the next power of two (256 for 197 rows), but the measurement has the rows of this graph, so that partly filled tiles count too.
            let (x_row, y_row, y_col, ld) = (0, 0, 0, op.n);
            Some((class, Op::Linear(Linear { m: op.m.min(TRIAL_ROWS), x_row, y_row, y_col, ld, ..op.clone() })))
        }
        Op::Attention(op) => {
            let outer = op.outer.min((TRIAL_HEADS / op.heads).max(1));
            let heads = (outer * op.heads).next_power_of_two();
            let causal = if op.causal { " causal" } else { "" };
            let class = format!("attention heads<={heads} q={} kv={} d={}{causal}", op.q_len, op.kv_len, op.head_dim);
            Some((class, Op::Attention(Attention { outer, ..op.clone() })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_join_what_runs_alike() {
        let linear = |m| class(&Op::Linear(Linear { bias: true, ..Linear::new(m, 768, 3072) })).unwrap();
        assert_eq!(linear(197).0, "linear m<=256 k=768 n=3072 None bias");
        assert_eq!(linear(197).0, linear(256).0);
        assert_eq!(linear(12_608).0, linear(50_432).0);
        assert!(matches!(linear(50_432).1, Op::Linear(Linear { m: 4096, .. })));
        let attention = |batch| class(&Op::Attention(Attention::packed(batch, 197, 12, 64, 0.125))).unwrap();
        assert_eq!(attention(1).0, "attention heads<=16 q=197 kv=197 d=64");
        assert_eq!(attention(64).0, attention(256).0);
    }
}
