//! Which shader runs an operation: its text, constants, parameters and workgroups.
//!
//! Shaders are whole WGSL files; what several share is put in front of them as it is (`shaders/common/`). Sizes of
//! register tiles are `const` lines in front of the text, switches are pipeline overrides.

use bytemuck::{Pod, Zeroable};

use super::adapter::{AdapterReport, Kernels};
use crate::error::{Error, Result};
use crate::ops::{Attention, LayerNorm, Linear, Op, PixelSource, Pool, Tokens, Unfold};

/// A shader file and what its Rust side assumes of it; tests check that the text agrees.
#[derive(Debug)]
pub struct Shader {
    /// File stem.
    pub name: &'static str,
    /// Shared snippets, then the file.
    pub parts: &'static [&'static str],
    /// Fields of its parameter struct, in order, each four bytes.
    pub fields: &'static [&'static str],
    /// Read-only storage bindings, from 1 on; the one after them is written.
    pub inputs: u32,
    /// `const` lines its text needs in front, with values for validation.
    pub constants: &'static [(&'static str, u32)],
    /// Whether it uses subgroup operations.
    pub subgroups: bool,
    /// Invocations per workgroup.
    pub workgroup: [u32; 3],
}

impl Shader {
    /// The whole WGSL text with `constants` in front.
    #[must_use]
    pub fn text(&self, constants: &[(&str, u32)]) -> String {
        let mut text: String =
            constants.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect();
        for part in self.parts {
            text.push_str(part);
            text.push('\n');
        }
        text
    }
}

macro_rules! params {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Pod, Zeroable)]
        struct $name { $($field: $type),* }
        impl $name { const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*]; }
    };
}

params!(LinearParams { m: u32, n: u32, k: u32, x_row: u32, y_row: u32, y_col: u32, ld: u32 });
params!(LayerNormParams { groups: u32, len: u32, eps: f32 });
params!(AttentionParams {
    head_dim: u32,
    q_len: u32,
    kv_len: u32,
    scale: f32,
    post_scale: f32,
    q_offset: u32,
    q_outer: u32,
    q_seq: u32,
    k_offset: u32,
    k_outer: u32,
    k_seq: u32,
    v_offset: u32,
    v_outer: u32,
    v_seq: u32,
    o_offset: u32,
    o_outer: u32,
    o_seq: u32,
});
params!(UnfoldParams { len: u32, chans: u32, height: u32, width: u32, ph: u32, pw: u32, grid_h: u32, grid_w: u32 });
params!(TokensParams { len: u32, patches: u32, width: u32, prefix: u32, pos_prefix: u32, pos: u32 });
params!(PoolParams { len: u32, tokens: u32, width: u32, first: u32, count: u32 });
params!(AddParams { len: u32, scale: f32 });

macro_rules! wgsl {
    ($path:literal) => {
        include_str!(concat!("../../shaders/", $path, ".wgsl"))
    };
}

const LINEAR_COMMON: [&str; 4] =
    [wgsl!("common/activation"), wgsl!("common/linear_params"), wgsl!("common/linear_vec4"), wgsl!("common/product4")];

/// Every shader of the crate.
pub static SHADERS: [Shader; 11] = [
    Shader {
        name: "linear",
        parts: &[LINEAR_COMMON[0], LINEAR_COMMON[1], LINEAR_COMMON[2], LINEAR_COMMON[3], wgsl!("linear")],
        fields: LinearParams::FIELDS,
        inputs: 5,
        constants: &[],
        subgroups: false,
        workgroup: [16, 16, 1],
    },
    Shader {
        name: "linear_subgroup",
        parts: &[LINEAR_COMMON[0], LINEAR_COMMON[1], LINEAR_COMMON[2], LINEAR_COMMON[3], wgsl!("linear_subgroup")],
        fields: LinearParams::FIELDS,
        inputs: 5,
        constants: &[],
        subgroups: true,
        workgroup: [8, 1, 1],
    },
    Shader {
        name: "linear_scalar",
        parts: &[LINEAR_COMMON[0], LINEAR_COMMON[1], wgsl!("linear_scalar")],
        fields: LinearParams::FIELDS,
        inputs: 5,
        constants: &[],
        subgroups: false,
        workgroup: [16, 4, 1],
    },
    Shader {
        name: "layer_norm",
        parts: &[wgsl!("common/linear_id"), wgsl!("layer_norm")],
        fields: LayerNormParams::FIELDS,
        inputs: 3,
        constants: &[],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
    Shader {
        name: "attention_direct",
        parts: &[wgsl!("common/attention_params"), wgsl!("attention_direct")],
        fields: AttentionParams::FIELDS,
        inputs: 3,
        constants: &[("D4", 16)],
        subgroups: false,
        workgroup: [8, 1, 1],
    },
    Shader {
        name: "attention",
        parts: &[wgsl!("common/attention_params"), wgsl!("attention")],
        fields: AttentionParams::FIELDS,
        inputs: 3,
        constants: &[("D4", 16), ("KEYS", 16)],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
    Shader {
        name: "unfold_bytes",
        parts: &[wgsl!("common/linear_id"), wgsl!("common/unfold_params"), wgsl!("unfold_bytes")],
        fields: UnfoldParams::FIELDS,
        inputs: 2,
        constants: &[],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
    Shader {
        name: "unfold_planes",
        parts: &[wgsl!("common/linear_id"), wgsl!("common/unfold_params"), wgsl!("unfold_planes")],
        fields: UnfoldParams::FIELDS,
        inputs: 1,
        constants: &[],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
    Shader {
        name: "tokens",
        parts: &[wgsl!("common/linear_id"), wgsl!("tokens")],
        fields: TokensParams::FIELDS,
        inputs: 3,
        constants: &[],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
    Shader {
        name: "pool",
        parts: &[wgsl!("common/linear_id"), wgsl!("pool")],
        fields: PoolParams::FIELDS,
        inputs: 1,
        constants: &[],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
    Shader {
        name: "add",
        parts: &[wgsl!("common/linear_id"), wgsl!("add")],
        fields: AddParams::FIELDS,
        inputs: 2,
        constants: &[],
        subgroups: false,
        workgroup: [64, 1, 1],
    },
];

/// What the choice of kernels depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// Kernels for software adapters, whose subgroups are always 8 wide: registers and broadcasts, no workgroup memory.
    pub software: bool,
}

impl Capabilities {
    /// Decides once per session which family of kernels an adapter gets.
    pub fn new(report: &AdapterReport, kernels: Kernels) -> Result<Self> {
        let able = report.subgroups == Some((8, 8));
        let software = match kernels {
            Kernels::Auto => able && report.kind == "software",
            Kernels::Portable => false,
            Kernels::Software if able => true,
            Kernels::Software => {
                let reason = format!("the software kernels need subgroups of 8, it has {:?}", report.subgroups);
                return Err(Error::Device { adapter: report.name.clone(), reason });
            }
        };
        Ok(Capabilities { software })
    }
}

/// One dispatch: everything but the buffers.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub shader: &'static Shader,
    pub constants: Vec<(&'static str, u32)>,
    pub overrides: Vec<(&'static str, u32)>,
    pub params: Vec<u8>,
    pub groups: [u32; 3],
}

/// The kernel for an operation.
pub(super) fn select(op: &Op, capabilities: Capabilities) -> Dispatch {
    match op {
        Op::Linear(op) => linear(op, capabilities),
        Op::LayerNorm(op) => layer_norm(op),
        Op::Attention(op) => attention(op, capabilities),
        Op::Unfold(op) => unfold(op),
        Op::Tokens(op) => tokens(op),
        Op::Pool(op) => pool(op),
        Op::Add(op) => {
            let params = AddParams { len: op.len as u32, scale: op.scale };
            dispatch("add", &params, spread(op.len, 64))
        }
    }
}

/// Whether an operand is stored transposed on the device: the weights of linear layers are, `[k, n]` from `[n, k]`.
pub(super) fn transposed(op: &Op, operand: usize) -> bool {
    matches!(op, Op::Linear(_)) && operand == 1
}

fn dispatch<P: Pod>(name: &str, params: &P, groups: [u32; 3]) -> Dispatch {
    let shader = SHADERS.iter().find(|shader| shader.name == name).unwrap_or(&SHADERS[0]);
    debug_assert_eq!(shader.name, name);
    let params = bytemuck::bytes_of(params).to_vec();
    Dispatch { shader, constants: Vec::new(), overrides: Vec::new(), params, groups }
}

/// Workgroups of `size` for `count` items, counted along x, then y, each within the limit of 65,535.
fn spread(count: usize, size: usize) -> [u32; 3] {
    let groups = count.div_ceil(size).max(1) as u32;
    let x = groups.min(65_535);
    [x, groups.div_ceil(x), 1]
}

fn linear(op: &Linear, capabilities: Capabilities) -> Dispatch {
    let tiles = |count: usize, size: usize| count.div_ceil(size) as u32;
    let (name, groups) = if [op.k, op.n, op.ld, op.y_col].iter().any(|size| size % 4 != 0) {
        ("linear_scalar", [tiles(op.n, 16), tiles(op.m, 16), 1])
    } else if capabilities.software {
        ("linear_subgroup", [tiles(op.m, 16), tiles(op.n, 32), 1])
    } else {
        ("linear", [tiles(op.n, 64), tiles(op.m, 64), 1])
    };
    let [m, n, k, x_row, y_row, y_col, ld] =
        [op.m, op.n, op.k, op.x_row, op.y_row, op.y_col, op.ld].map(|value| value as u32);
    let mut dispatch = dispatch(name, &LinearParams { m, n, k, x_row, y_row, y_col, ld }, groups);
    dispatch.overrides = vec![
        ("ACTIVATION", op.act as u32),
        ("HAS_BIAS", u32::from(op.bias)),
        ("HAS_GAMMA", u32::from(op.gamma)),
        ("HAS_RESIDUAL", u32::from(op.residual)),
    ];
    dispatch
}

fn layer_norm(op: &LayerNorm) -> Dispatch {
    let params = LayerNormParams { groups: op.groups as u32, len: op.len as u32, eps: op.eps };
    dispatch("layer_norm", &params, spread(op.groups, 1))
}

fn attention(op: &Attention, capabilities: Capabilities) -> Dispatch {
    let strides = |s: crate::ops::Strides| [s.offset as u32, s.outer as u32, s.seq as u32];
    let ([q_offset, q_outer, q_seq], [k_offset, k_outer, k_seq]) = (strides(op.q), strides(op.k));
    let ([v_offset, v_outer, v_seq], [o_offset, o_outer, o_seq]) = (strides(op.v), strides(op.o));
    let params = AttentionParams {
        head_dim: op.head_dim as u32,
        q_len: op.q_len as u32,
        kv_len: op.kv_len as u32,
        scale: op.scale,
        post_scale: op.post_scale,
        q_offset,
        q_outer,
        q_seq,
        k_offset,
        k_outer,
        k_seq,
        v_offset,
        v_outer,
        v_seq,
        o_offset,
        o_outer,
        o_seq,
    };
    let d4 = op.head_dim.div_ceil(4) as u32;
    let groups = |queries: usize| [op.q_len.div_ceil(queries) as u32, op.heads as u32, op.outer as u32];
    if capabilities.software {
        let mut dispatch = dispatch("attention_direct", &params, groups(8));
        dispatch.constants = vec![("D4", d4)];
        return dispatch;
    }
    let mut dispatch = dispatch("attention", &params, groups(64));
    // K and V tiles of 32·d4·KEYS bytes within 16 KiB: at least 8 keys at the widest head (256), at most 32.
    let keys = (16_384 / (32 * d4)).clamp(8, 32) / 8 * 8;
    dispatch.constants = vec![("D4", d4), ("KEYS", keys)];
    dispatch
}

fn unfold(op: &Unfold) -> Dispatch {
    let (grid_h, grid_w) = op.grid();
    let len = op.batch * grid_h * grid_w * op.chans * op.patch.0 * op.patch.1;
    let [chans, height, width, ph, pw, grid_h, grid_w] =
        [op.chans, op.size.0, op.size.1, op.patch.0, op.patch.1, grid_h, grid_w].map(|value| value as u32);
    let name = match op.source {
        PixelSource::Bytes => "unfold_bytes",
        PixelSource::Planes => "unfold_planes",
    };
    dispatch(name, &UnfoldParams { len: len as u32, chans, height, width, ph, pw, grid_h, grid_w }, spread(len, 64))
}

fn tokens(op: &Tokens) -> Dispatch {
    let len = op.batch * (op.prefix + op.patches) * op.width;
    let [patches, width, prefix, pos_prefix] =
        [op.patches, op.width, op.prefix, op.pos_prefix].map(|value| value as u32);
    let params = TokensParams { len: len as u32, patches, width, prefix, pos_prefix, pos: u32::from(op.pos) };
    dispatch("tokens", &params, spread(len, 64))
}

fn pool(op: &Pool) -> Dispatch {
    let len = op.batch * op.width;
    let (first, count) = op.range();
    let [len_u, tokens, width, first, count] = [len, op.tokens, op.width, first, count].map(|value| value as u32);
    dispatch("pool", &PoolParams { len: len_u, tokens, width, first, count }, spread(len, 64))
}
