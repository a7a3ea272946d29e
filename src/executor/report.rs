//! What executors report about themselves.

use std::collections::BTreeMap;

use crate::ops::Cost;

/// The highest rates of a device, measured on the device itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// f32 arithmetic outside matrix cores, in FLOP per second; a multiply-add counts as two.
    pub fma: f64,
    /// Products with f32 sums by matrix cores, in FLOP per second: those of f16 on a GPU, on the processor those of f32 in parts
    /// of bfloat16, counted as operations on f32. `None` if no such cores are used.
    pub matrix: Option<f64>,
    /// Bytes read plus bytes written per second by a copy that is larger than most caches.
    pub copy: f64,
}

impl Peak {
    /// What products can reach, in FLOP a second: by matrix cores where they are used.
    #[must_use]
    pub fn flop(&self) -> f64 {
        self.matrix.unwrap_or(self.fma)
    }
}

/// The measured time of one operation of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct OpTime {
    /// A path such as `blocks.3.attn.qkv`.
    pub label: String,
    /// The kernel that ran it.
    pub kernel: &'static str,
    /// Seconds on the device.
    pub seconds: f64,
    /// FLOP and bytes.
    pub cost: Cost,
}

/// What was chosen for a shape class, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The operation and its shape class.
    pub class: String,
    /// The kernel.
    pub kernel: String,
    /// Seconds of one run in the measurement; `None` if the choice was read from disk.
    pub seconds: Option<f64>,
}

/// Kernels chosen by measurement; empty where a static table decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuning {
    /// What was chosen, in the order it was needed.
    pub choices: Vec<Choice>,
    /// Kernels that are not used on this adapter, and why.
    pub dropped: BTreeMap<String, String>,
}

/// Seconds spent so far on work that is done once per model and device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Startup {
    /// Reading weights and uploading them.
    pub weights: f64,
    /// Measuring kernels to choose among them.
    pub tuning: f64,
    /// Compiling pipelines.
    pub pipelines: f64,
}
