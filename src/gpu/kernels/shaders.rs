//! The list of all shaders, with what the Rust code assumes about each.

use std::sync::LazyLock;

use super::params::{
    AddParams, AttentionMapParams, AttentionParams, GluParams, LayerNormParams, LinearParams, PeakParams, PoolParams,
    ProbeParams, TokensParams, UnfoldParams,
};
use super::{attention, linear};
use crate::gpu::wgsl::{Constants, assemble};
use crate::graph::Precision;

/// A shader file and what its Rust side assumes of it; tests check that the text agrees.
#[derive(Debug)]
pub struct Shader {
    /// Name of the file without `.wgsl`.
    pub name: &'static str,
    /// Shared snippets, then the file.
    pub parts: &'static [&'static str],
    /// Fields of its parameter struct, in order, each four bytes.
    pub fields: &'static [&'static str],
    /// Number of read-only storage bindings. They begin at binding 1; the binding after them is written.
    pub inputs: u32,
    /// Sets of constants it runs with, for validation.
    pub variants: fn() -> Vec<Constants>,
    /// Bytes of workgroup memory it takes with a set of constants.
    pub memory: fn(&Constants) -> u32,
    /// Features it needs beyond core WebGPU.
    pub needs: Needs,
    /// Invocations per workgroup; `None` where the constant `LANES` says.
    pub workgroup: Option<u32>,
}

/// What a shader needs beyond WebGPU's core (and 16-bit floats, where it runs in that precision).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Core WebGPU is enough.
    Nothing,
    /// Subgroup operations.
    Subgroups,
    /// Cooperative matrices; such a shader runs in f16 only.
    Matrices,
}

impl Shader {
    /// The shader called `name`; the name is one of this crate's own.
    pub(super) fn named(name: &str) -> &'static Shader {
        SHADERS.iter().find(|shader| shader.name == name).unwrap_or_else(|| unreachable!("no shader {name}"))
    }

    /// The whole WGSL text with `constants` in front.
    #[must_use]
    pub fn text(&self, precision: Precision, constants: &[(&'static str, u32)]) -> String {
        let mut enables = Vec::new();
        if precision == Precision::F16 {
            enables.push("f16");
        }
        if self.needs == Needs::Matrices {
            enables.push("wgpu_cooperative_matrix");
        }
        assemble(self.parts, &enables, precision, constants)
    }

    /// The precisions it runs in.
    #[must_use]
    pub fn precisions(&self) -> &'static [Precision] {
        match self.needs {
            Needs::Matrices => &[Precision::F16],
            _ => &[Precision::F32, Precision::F16],
        }
    }
}

macro_rules! wgsl {
    ($path:literal) => {
        include_str!(concat!("../../../shaders/", $path, ".wgsl"))
    };
}

const ACTIVATION: &str = wgsl!("common/activation");
const GROUPS: &str = wgsl!("common/workgroup_index");
const LINEAR: &str = wgsl!("common/linear_params");
const LINEAR_VEC4: &str = wgsl!("common/linear_vec4");
const FOURS: &str = wgsl!("common/linear_fours");
const ATTENTION: &str = wgsl!("common/attention_params");
const UNFOLD: &str = wgsl!("common/unfold_params");
const TOTAL: &str = wgsl!("common/total");
const TOTAL_SUBGROUP: &str = wgsl!("common/total_subgroup");

/// A shader of 64 invocations, without constants, that needs nothing beyond the core.
const fn plain(
    name: &'static str,
    parts: &'static [&'static str],
    fields: &'static [&'static str],
    inputs: u32,
) -> Shader {
    let (variants, memory) = (|| vec![vec![]], |_: &Constants| 0);
    Shader { name, parts, fields, inputs, variants, memory, needs: Needs::Nothing, workgroup: Some(64) }
}

/// Every shader of the crate.
pub static SHADERS: LazyLock<Vec<Shader>> = LazyLock::new(|| {
    vec![
        Shader {
            variants: || linear::variants("linear_tile"),
            memory: linear::tile_memory,
            workgroup: None,
            ..plain(
                "linear_tile",
                &[ACTIVATION, LINEAR, LINEAR_VEC4, FOURS, wgsl!("linear_tile")],
                LinearParams::FIELDS,
                5,
            )
        },
        Shader {
            variants: || linear::variants("linear_subgroup"),
            needs: Needs::Subgroups,
            workgroup: Some(8),
            ..plain(
                "linear_subgroup",
                &[ACTIVATION, LINEAR, LINEAR_VEC4, FOURS, wgsl!("linear_subgroup")],
                LinearParams::FIELDS,
                5,
            )
        },
        Shader {
            variants: || linear::variants("linear_matrix"),
            memory: linear::matrix_memory,
            needs: Needs::Matrices,
            workgroup: None,
            ..plain(
                "linear_matrix",
                &[ACTIVATION, LINEAR, LINEAR_VEC4, wgsl!("linear_matrix")],
                LinearParams::FIELDS,
                5,
            )
        },
        Shader {
            memory: |_| 2048,
            ..plain("linear_scalar", &[ACTIVATION, LINEAR, wgsl!("linear_scalar")], LinearParams::FIELDS, 5)
        },
        Shader {
            memory: |_| 256,
            ..plain("layer_norm", &[GROUPS, TOTAL, wgsl!("layer_norm")], LayerNormParams::FIELDS, 3)
        },
        Shader {
            memory: |_| 256,
            variants: || vec![vec![("VEC4S", 1)], vec![("VEC4S", 3)]],
            ..plain("layer_norm_vec4", &[GROUPS, TOTAL, wgsl!("layer_norm_vec4")], LayerNormParams::FIELDS, 3)
        },
        Shader {
            variants: || vec![vec![("VEC4S", 1)], vec![("VEC4S", 24)]],
            needs: Needs::Subgroups,
            workgroup: Some(8),
            ..plain(
                "layer_norm_subgroup",
                &[GROUPS, TOTAL_SUBGROUP, wgsl!("layer_norm_vec4")],
                LayerNormParams::FIELDS,
                3,
            )
        },
        Shader {
            variants: || attention::variants("attention_direct"),
            workgroup: None,
            ..plain("attention_direct", &[ATTENTION, wgsl!("attention_direct")], AttentionParams::FIELDS, 3)
        },
        Shader {
            variants: || attention::variants("attention_rows"),
            memory: |_| attention::ROWS_MEMORY,
            ..plain("attention_rows", &[ATTENTION, wgsl!("attention_rows")], AttentionParams::FIELDS, 3)
        },
        Shader {
            variants: || attention::variants("attention_subgroup"),
            needs: Needs::Subgroups,
            workgroup: Some(8),
            ..plain("attention_subgroup", &[ATTENTION, wgsl!("attention_subgroup")], AttentionParams::FIELDS, 3)
        },
        Shader {
            variants: || attention::variants("attention"),
            memory: attention::tile_memory,
            ..plain("attention", &[ATTENTION, wgsl!("attention")], AttentionParams::FIELDS, 3)
        },
        Shader {
            variants: || attention::variants("attention_matrix"),
            memory: attention::matrix_memory,
            needs: Needs::Matrices,
            workgroup: None,
            ..plain("attention_matrix", &[ATTENTION, wgsl!("attention_matrix")], AttentionParams::FIELDS, 3)
        },
        plain("attention_map", &[wgsl!("attention_map")], AttentionMapParams::FIELDS, 2),
        plain("unfold_bytes", &[GROUPS, UNFOLD, wgsl!("unfold_bytes")], UnfoldParams::FIELDS, 2),
        plain("unfold_planes", &[GROUPS, UNFOLD, wgsl!("unfold_planes")], UnfoldParams::FIELDS, 1),
        plain("tokens", &[GROUPS, wgsl!("tokens")], TokensParams::FIELDS, 3),
        plain("pool", &[GROUPS, wgsl!("pool")], PoolParams::FIELDS, 1),
        plain("peak_fma", &[wgsl!("peak_fma")], PeakParams::FIELDS, 0),
        plain("peak_copy", &[GROUPS, wgsl!("peak_copy")], PeakParams::FIELDS, 1),
        Shader {
            variants: || vec![vec![("LANES", 32), ("SIZE", 16)], vec![("LANES", 8), ("SIZE", 8)]],
            needs: Needs::Matrices,
            workgroup: None,
            ..plain("peak_matrix", &[wgsl!("peak_matrix")], PeakParams::FIELDS, 1)
        },
        Shader {
            needs: Needs::Subgroups,
            ..plain("probe_subgroup", &[wgsl!("probe_subgroup")], ProbeParams::FIELDS, 0)
        },
        plain("glu", &[GROUPS, ACTIVATION, wgsl!("glu")], GluParams::FIELDS, 1),
        plain("add", &[GROUPS, wgsl!("add")], AddParams::FIELDS, 2),
    ]
});
