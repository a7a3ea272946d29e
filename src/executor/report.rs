//! What executors report about themselves.

use std::collections::BTreeMap;

use crate::ops::Cost;

/// What a device can do at most, measured on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// f32 multiply-adds outside matrix cores, in FLOP a second (two each).
    pub fma: f64,
    /// Products of f16 with f32 sums on matrix cores, in FLOP a second, where the session uses them.
    pub matrix: Option<f64>,
    /// Bytes read plus bytes written a second by a copy larger than most caches.
    pub copy: f64,
}

impl Peak {
    /// What products can reach, in FLOP a second: by matrix cores where they are used.
    #[must_use]
    pub fn flop(&self) -> f64 {
        self.matrix.unwrap_or(self.fma)
    }
}

/// What one operation of a graph took.
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
    /// Seconds it took in the trial, whose size the class states; `None` where it was remembered.
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

/// Seconds spent so far on what is done once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Startup {
    /// Reading weights and handing them to the device.
    pub weights: f64,
    /// Trying kernels.
    pub tuning: f64,
    /// Compiling pipelines.
    pub pipelines: f64,
}
