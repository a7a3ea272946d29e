//! Chooses the shader for an operation, with its constants, parameters and number of workgroups.
//!
//! Shaders are whole WGSL files; what several share is put in front of them (`shaders/common/`). Sizes of register tiles
//! are constants in front of the text; options are pipeline overrides. If several kernels can run an operation,
//! [`candidates`] lists them, the best guess first; the tuner measures them on real GPUs.

mod attention;
mod linear;
mod params;
mod reachable;
mod rows;
mod shaders;

use bytemuck::Pod;

use super::wgsl::Constants;
use crate::device::{Adapter, Kernels};
use crate::error::{Error, Result};
use crate::graph::{Dtype, Precision};
use crate::ops::Op;

pub(super) use params::PeakParams;
pub use reachable::{Reachable, reachable};
pub use shaders::{Needs, SHADERS, Shader};

/// Cooperative matrices as kernels use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrices {
    /// Rows and columns of a matrix, 8 or 16; inputs f16, sums f32.
    pub size: u32,
    /// Invocations of a subgroup; the widest where they vary.
    pub lanes: u32,
    /// Whether all subgroups have this width, so that a workgroup can be made of several.
    pub fixed: bool,
}

/// Everything that the choice of kernels depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub precision: Precision,
    /// Kernels for software adapters, whose subgroups are always 8 wide: registers and broadcasts, no workgroup memory.
    pub software: bool,
    /// The matrix cores, if they are to be used.
    pub matrices: Option<Matrices>,
    /// Bytes of workgroup memory a kernel may take.
    pub workgroup_memory: u32,
    /// A kernel that is made to give wrong results, so that tests can see whether the checks notice.
    pub broken: Option<&'static str>,
    /// A kernel that is made not to compile, so that tests can see what is taken in its place.
    pub unbuildable: Option<&'static str>,
}

/// WebGPU's default limit, which the portable kernels keep to.
const PORTABLE_MEMORY: u32 = 16_384;

impl Capabilities {
    /// Decides once per session which kernels an adapter may get.
    ///
    /// # Errors
    /// [`Error::Precision`] if the adapter does not compute in it; [`Error::Kernels`] if it, or the precision, does not have
    /// what the named kernels need.
    pub fn new(report: &Adapter, kernels: Kernels, precision: Precision) -> Result<Self> {
        let refused = |reason: String, precision| {
            Err(Error::Kernels { adapter: report.name.clone(), kernels: kernels.name(), precision, reason })
        };
        let lacks = |reason: String| refused(reason, None);
        let available: &[&str] = if report.f16 { &["f32", "f16"] } else { &["f32"] };
        if !available.contains(&precision.name()) {
            return Err(Error::Precision { device: report.name.clone(), precision: precision.name(), available });
        }
        let eights = report.subgroups == Some((8, 8));
        let matrices = matrices(report).filter(|_| precision == Precision::F16);
        match kernels {
            Kernels::Software if !eights => {
                return lacks(format!("the software kernels need subgroups of 8, it has {:?}", report.subgroups));
            }
            Kernels::Matrix if precision != Precision::F16 => {
                return refused("the matrix kernels compute in f16".into(), Some("f16"));
            }
            Kernels::Matrix if matrices.is_none() => {
                return lacks("it has no cooperative matrices of 8x8 or 16x16 from f16 to f32".into());
            }
            _ => {}
        }
        let software = kernels == Kernels::Software || (kernels == Kernels::Auto && eights && report.is_software());
        let matrix = kernels == Kernels::Matrix || (kernels == Kernels::Auto && !report.is_software());
        let workgroup_memory = match kernels {
            Kernels::Portable => PORTABLE_MEMORY,
            _ => report.workgroup_memory,
        };
        Ok(Capabilities {
            precision,
            software,
            matrices: matrices.filter(|_| matrix),
            workgroup_memory,
            broken: named_by("VIT_GPU_BREAK_KERNEL"),
            unbuildable: named_by("VIT_GPU_FAIL_KERNEL"),
        })
    }
}

/// The largest square matrices from f16 to f32 an adapter has, of those WGSL can name.
fn matrices(report: &Adapter) -> Option<Matrices> {
    let (least, lanes) = report.subgroups?;
    let fits = |size: u32| {
        let wanted = (size, size, size, "f16", "f32");
        let shapes = report.cooperative_matrix.iter();
        lanes >= size && shapes.into_iter().any(|s| (s.m, s.n, s.k, s.inputs.as_str(), s.sums.as_str()) == wanted)
    };
    let size = [16, 8].into_iter().find(|&size| fits(size))?;
    Some(Matrices { size, lanes, fixed: least == lanes })
}

/// Everything that describes one dispatch, except for the buffers.
#[derive(Debug)]
pub(super) struct Dispatch {
    /// Which of the candidates it is.
    pub kernel: &'static str,
    pub shader: &'static Shader,
    pub precision: Precision,
    pub constants: Constants,
    pub overrides: Constants,
    pub params: Vec<u8>,
    pub groups: [u32; 3],
}

/// The kernels that can run an operation, the one expected to be fastest first; empty if there is only one.
pub(super) fn candidates(op: &Op, capabilities: Capabilities) -> Vec<&'static str> {
    match op {
        Op::Linear(op) => linear::candidates(op, capabilities),
        Op::Attention(op) => attention::candidates(op, capabilities),
        _ => Vec::new(),
    }
}

/// The dispatch that runs an operation with the given kernel, or with the first candidate.
pub(super) fn select(op: &Op, kernel: Option<&'static str>, capabilities: Capabilities) -> Dispatch {
    let kernel = kernel.or_else(|| candidates(op, capabilities).first().copied()).unwrap_or(op.name());
    let mut dispatch = match op {
        Op::Linear(op) => linear::dispatch(op, kernel, capabilities),
        Op::Attention(op) => attention::dispatch(op, kernel, capabilities),
        Op::AttentionMap(op) => rows::attention_map(op),
        Op::LayerNorm(op) => rows::layer_norm(op, capabilities),
        Op::Unfold(op) => rows::unfold(op),
        Op::Tokens(op) => rows::tokens(op),
        Op::Pool(op) => rows::pool(op),
        Op::Glu(op) => rows::glu(op),
        Op::Add(op) => rows::add(op),
    };
    dispatch.precision = capabilities.precision;
    if matches!(op, Op::Linear(_) | Op::Attention(_)) {
        dispatch.kernel = kernel;
    }
    if capabilities.broken == Some(kernel) {
        dispatch.groups = [1, 1, 1];
    }
    if capabilities.unbuildable == Some(kernel) {
        // Every shader has a function of this name.
        dispatch.constants.push(("main", 1));
    }
    dispatch
}

/// The kernel that a variable names, for tests of the checks themselves: that of `VIT_GPU_BREAK_KERNEL` computes only its first tile,
/// that of `VIT_GPU_FAIL_KERNEL` does not compile.
fn named_by(variable: &str) -> Option<&'static str> {
    let name = std::env::var(variable).ok()?;
    linear::names().chain(attention::names()).find(|known| *known == name)
}

/// Whether an operand is stored transposed on the device: the weights of linear layers may be, `[n, k]` becomes `[k, n]`.
pub(super) fn transposed(op: &Op, operand: usize, capabilities: Capabilities) -> bool {
    matches!(op, Op::Linear(linear) if operand == 1 && linear::transposed(linear, capabilities))
}

/// The type in which the pixels of an operation are stored: they keep their own type, everything else has the session's precision.
pub(super) fn element_type(op: &Op, precision: Precision) -> Dtype {
    match op {
        Op::Unfold(_) => Dtype::F32,
        _ => precision.into(),
    }
}

fn dispatch<P: Pod>(name: &'static str, params: &P, groups: [u32; 3]) -> Dispatch {
    Dispatch {
        kernel: name,
        shader: Shader::named(name),
        precision: Precision::F32,
        constants: Vec::new(),
        overrides: Vec::new(),
        params: bytemuck::bytes_of(params).to_vec(),
        groups,
    }
}

/// A dispatch of a shader that belongs to no operation.
pub(super) fn dispatch_with(
    name: &'static str,
    params: PeakParams,
    groups: [u32; 3],
    precision: Precision,
) -> Dispatch {
    Dispatch { precision, ..dispatch(name, &params, groups) }
}

/// The dispatch of one workgroup that tells the width of its subgroups.
pub(super) fn probe_dispatch(len: u32) -> Dispatch {
    dispatch("probe_subgroup", &params::ProbeParams { len }, [1, 1, 1])
}

/// The number of workgroups of `size` for `count` items, spread over x and y so that neither is more than 65,535.
fn spread(count: usize, size: usize) -> [u32; 3] {
    let groups = count.div_ceil(size).max(1) as u32;
    let x = groups.min(65_535);
    [x, groups.div_ceil(x), 1]
}

#[cfg(test)]
mod tests;
