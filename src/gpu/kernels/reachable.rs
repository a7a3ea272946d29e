//! Which shader variants the static choice can give to an adapter, for the report of what drivers' compilers make of them.

use super::{Capabilities, SHADERS, Shader, candidates, select};
use crate::device::{Adapter, Kernels, MatrixShape};
use crate::gpu::wgsl::Constants;
use crate::graph::Precision;
use crate::ops::{Activation, Attention, Linear, Op};

/// A shader with its constants, and a kernel that it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Reachable {
    /// The kernel's name in the table of choices.
    pub kernel: &'static str,
    /// Its shader's name, as in [`SHADERS`].
    pub shader: &'static str,
    /// The precision it runs in.
    pub precision: Precision,
    /// The constants in front of its text.
    pub constants: Constants,
    /// Values of its overrides: the options that cost most.
    pub overrides: Constants,
}

/// Rows, and widths before and after, of usual linear layers; a head with few classes among them.
const ROWS: [usize; 5] = [1, 50, 197, 1576, 12_608];
const WIDTHS: [(usize, usize); 7] =
    [(192, 576), (588, 768), (768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 10)];
/// Widths of heads: what models have, the widest that each kernel takes, and unusual ones.
const HEADS: [usize; 18] = [12, 16, 24, 30, 32, 48, 64, 72, 80, 88, 96, 104, 112, 128, 160, 192, 256, 512];

/// Every variant that an operation of a usual model can get on a real GPU with such subgroups, such square cooperative matrices
/// from f16 to f32, and so much workgroup memory: all candidates, because the choice among them is by measurement.
#[must_use]
pub fn reachable(subgroups: (u32, u32), matrices: Option<u32>, workgroup_memory: u32) -> Vec<Reachable> {
    let shape = |size| MatrixShape { m: size, n: size, k: size, inputs: "f16".into(), sums: "f32".into() };
    let report = Adapter {
        kind: "discrete",
        f16: true,
        subgroups: Some(subgroups),
        cooperative_matrix: matrices.map(shape).into_iter().collect(),
        workgroup_memory,
        ..Adapter::featureless("any")
    };
    let linear = ROWS.iter().flat_map(|&m| {
        WIDTHS.map(|(k, n)| {
            let options =
                Linear { bias: true, gamma: true, residual: true, act: Activation::Gelu, ..Linear::new(m, k, n) };
            Op::Linear(options)
        })
    });
    let attention = [1, 197].into_iter().flat_map(|batch| {
        HEADS.map(|d| Op::Attention(Attention { causal: true, ..Attention::packed(batch, 197, 12, d, 0.125) }))
    });
    let ops: Vec<Op> = linear.chain(attention).collect();
    let mut found: Vec<Reachable> = Vec::new();
    for precision in [Precision::F32, Precision::F16] {
        let Ok(capabilities) = Capabilities::new(&report, Kernels::Auto, precision) else { continue };
        for op in &ops {
            for kernel in candidates(op, capabilities) {
                let dispatch = select(op, Some(kernel), capabilities);
                let (shader, constants, overrides) = (dispatch.shader.name, dispatch.constants, dispatch.overrides);
                found.push(Reachable { kernel, shader, precision, constants, overrides });
            }
        }
        // The operations with one kernel, which differ in no more than the length of a row.
        let chosen = |shader: &&Shader| ["linear", "attention"].iter().any(|op| shader.name.starts_with(op));
        let others = SHADERS.iter().filter(|shader| !chosen(shader) || shader.name == "attention_map");
        for shader in others.filter(|shader| shader.needs == super::Needs::Nothing) {
            for constants in (shader.variants)() {
                let (kernel, overrides) = (shader.name, Vec::new());
                found.push(Reachable { kernel, shader: kernel, precision, constants, overrides });
            }
        }
    }
    found.sort_by(|a, b| {
        (a.kernel, a.precision.name(), &a.constants).cmp(&(b.kernel, b.precision.name(), &b.constants))
    });
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_and_widths_decide_what_can_be_reached() {
        let names = |matrices| {
            let all = reachable((32, 64), matrices, 65_536);
            all.iter().map(|one| one.kernel).collect::<Vec<_>>()
        };
        assert!(!names(None).iter().any(|kernel| kernel.contains("matrix")));
        assert!(names(Some(16)).contains(&"linear_matrix_2x2"));
        // Where subgroups vary in width, no kernel has several in a workgroup.
        assert!(!names(Some(16)).contains(&"linear_matrix_8x8"));
        assert!(names(None).contains(&"linear_scalar") && names(None).contains(&"layer_norm_vec4"));
        assert!(!names(None).iter().any(|kernel| kernel.contains("subgroup")));
    }
}
