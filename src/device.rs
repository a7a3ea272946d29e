//! What a session can run on: requests, and what is known of adapters.

use crate::error::{Error, Result};

/// What a session is to run on.
///
/// Text parses as one: `auto`, `gpu` and `cpu` in any case, a whole number as an index, any other text as a part of a name, which
/// is looked up when the session is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The best real GPU, or the processor if there is none.
    #[default]
    Auto,
    /// The best real GPU; an error if there is none.
    Gpu,
    /// The processor.
    Cpu,
    /// The adapter at this position, from 0, in the list that `vit_gpu::adapters` gives; software adapters included.
    Index(usize),
    /// The only adapter whose name contains this text, in upper or lower case; software adapters included. `vulkan:`, `metal:` or
    /// `dx12:` before it looks at this backend's adapters alone, and without a name takes the best real GPU among them.
    Named(String),
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Gpu => f.write_str("gpu"),
            Device::Cpu => f.write_str("cpu"),
            Device::Index(index) => write!(f, "{index}"),
            Device::Named(name) => f.write_str(name),
        }
    }
}

impl std::str::FromStr for Device {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "auto" => Device::Auto,
            "gpu" => Device::Gpu,
            "cpu" => Device::Cpu,
            other => other.parse().map_or_else(|_| Device::Named(text.to_owned()), Device::Index),
        })
    }
}

/// Which family of kernels to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kernels {
    /// Chosen by what the adapter can do, and on real GPUs by measurement.
    #[default]
    Auto,
    /// Kernels that stay within WebGPU's default limits and run on every adapter.
    Portable,
    /// Kernels for software adapters whose subgroups are always 8 wide. They use registers and subgroup broadcasts.
    Software,
    /// Kernels on cooperative matrices (matrix cores), in f16 only.
    Matrix,
}

impl Kernels {
    /// Its name: `auto`, `portable`, `software` or `matrix`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kernels::Auto => "auto",
            Kernels::Portable => "portable",
            Kernels::Software => "software",
            Kernels::Matrix => "matrix",
        }
    }
}

impl std::str::FromStr for Kernels {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Kernels::Auto),
            "portable" => Ok(Kernels::Portable),
            "software" => Ok(Kernels::Software),
            "matrix" => Ok(Kernels::Matrix),
            _ => {
                Err(Error::argument("kernels", format!("unknown kernels `{text}`: auto, portable, software or matrix")))
            }
        }
    }
}

/// A size and type of cooperative matrices that an adapter supports: factors of m×k and k×n, sums of m×n.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatrixShape {
    /// Rows of the first factor and of the sums.
    pub m: u32,
    /// Columns of the second factor and of the sums.
    pub n: u32,
    /// Length of the sums: columns of the first factor, rows of the second.
    pub k: u32,
    /// Type of the factors, such as `f16`.
    pub inputs: String,
    /// Type of the sums.
    pub sums: String,
}

impl std::fmt::Display for MatrixShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{} {}→{}", self.m, self.n, self.k, self.inputs, self.sums)
    }
}

/// A graphics adapter and what it can do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Adapter {
    /// Name the driver gives.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// `Vulkan`, `Metal` or `DX12`; `WebGPU` in a browser.
    pub backend: &'static str,
    /// Driver and version.
    pub driver: String,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Least and greatest subgroup size, where subgroup operations exist.
    pub subgroups: Option<(u32, u32)>,
    /// Cooperative-matrix shapes.
    pub cooperative_matrix: Vec<MatrixShape>,
    /// Timestamp queries.
    pub timestamps: bool,
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Largest buffer in bytes.
    pub max_buffer: u64,
    /// Workgroup memory in bytes.
    pub workgroup_memory: u32,
    /// Invocations per workgroup.
    pub workgroup_invocations: u32,
}

impl Adapter {
    /// Whether the adapter is software that computes on the processor, such as lavapipe.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }
}

#[cfg(any(feature = "gpu", test))]
impl Adapter {
    /// An adapter without any feature.
    pub(crate) fn featureless(name: &str) -> Adapter {
        Adapter {
            name: name.into(),
            kind: "other",
            backend: "Vulkan",
            driver: String::new(),
            f16: false,
            subgroups: None,
            cooperative_matrix: Vec::new(),
            timestamps: false,
            max_binding: 0,
            max_buffer: 0,
            workgroup_memory: 0,
            workgroup_invocations: 0,
        }
    }
}
