//! The kernels for attention, and the order in which they are expected to be fast for a shape.

use super::params::AttentionParams;
use super::{Capabilities, Dispatch, Matrices};
use crate::gpu::wgsl::{Constants, value};
use crate::ops::{Attention, Strides};

#[derive(Clone, Copy)]
enum Method {
    /// One query per invocation, for any head width, without barriers.
    Direct,
    /// Four queries per workgroup, for any head width.
    Rows,
    /// 8·rows queries in one subgroup of 8.
    Subgroup { rows: u32 },
    /// 8·rows queries through workgroup memory.
    Tile { rows: u32 },
    /// `subs` subgroups, each with as many queries as a matrix has rows.
    Matrix { subs: u32 },
}

/// Larger blocks first within a kind: they read keys and values less often.
static KERNELS: [(&str, Method); 10] = [
    ("attention_matrix_4", Method::Matrix { subs: 4 }),
    ("attention_matrix_2", Method::Matrix { subs: 2 }),
    ("attention_matrix_1", Method::Matrix { subs: 1 }),
    ("attention_tile_32", Method::Tile { rows: 4 }),
    ("attention_tile_16", Method::Tile { rows: 2 }),
    ("attention_tile_8", Method::Tile { rows: 1 }),
    ("attention_subgroup_32", Method::Subgroup { rows: 4 }),
    ("attention_subgroup_16", Method::Subgroup { rows: 2 }),
    ("attention_rows", Method::Rows),
    ("attention_direct", Method::Direct),
];

/// Number of workgroups that keeps a large GPU busy. With fewer, a smaller block is expected to be faster.
const BUSY: usize = 132;
/// The widest head for the subgroup kernel: with wider ones, the unrolled text takes software adapters long to compile.
const WIDEST_SUBGROUP: usize = 96;
/// The most vec4s of sums that an invocation of the tiled kernel has registers for.
const MOST_SUMS: u32 = 12;
/// The widest head that fits the registers of the matrix kernel.
const WIDEST_MATRIX: usize = 256;

impl Method {
    /// The constants in front of the shader's text; `fours` says whether everything is a multiple of four elements.
    fn constants(self, head_dim: u32, fours: bool, matrices: Option<Matrices>) -> Constants {
        let d4 = head_dim.div_ceil(4);
        match (self, matrices) {
            (Method::Direct, _) => vec![("LANES", 8), ("D4", d4)],
            (Method::Rows, _) => {
                let (piece, ones) = if fours { (4, 0) } else { (1, 1) };
                let cols = head_dim.div_ceil(64 * piece);
                vec![("PIECE", piece), ("FOURS", 1 - ones), ("ONES", ones), ("COLS", cols)]
            }
            (Method::Subgroup { rows }, _) => vec![("D4", d4), ("ROWS", rows)],
            (Method::Tile { rows }, _) => vec![("D4", d4), ("ROWS", rows), ("COLS4", d4.div_ceil(8))],
            (Method::Matrix { subs }, Some(Matrices { size, lanes: sub_lanes, .. })) => {
                let (mats_d, parts) = (head_dim.div_ceil(size), sub_lanes / size);
                // Vec4s of a step of keys that an invocation brings.
                let loads = 2 * size * mats_d * size / 4 / (subs * sub_lanes);
                vec![
                    ("LANES", subs * sub_lanes),
                    ("SUB_LANES", sub_lanes),
                    ("SUBS", subs),
                    ("SIZE", size),
                    ("MATS_D", mats_d),
                    ("MATS_K", 2),
                    ("D4", d4),
                    ("PARTS", parts),
                    ("OWN", 2 * size / parts),
                    ("K_LOADS", loads.clamp(1, 8)),
                    ("V_LOADS", (loads / 4).clamp(1, 2)),
                    ("O4", (mats_d * size / 4).div_ceil(parts)),
                ]
            }
            (Method::Matrix { .. }, None) => Vec::new(),
        }
    }

    /// Queries of a workgroup.
    fn queries(self, size: u32) -> u32 {
        match self {
            Method::Direct => 8,
            Method::Rows => 4,
            Method::Tile { rows } | Method::Subgroup { rows } => 8 * rows,
            Method::Matrix { subs } => subs * size,
        }
    }

    /// Bytes of workgroup memory.
    fn memory(self, head_dim: u32, matrices: Option<Matrices>) -> u32 {
        let constants = self.constants(head_dim, true, matrices);
        match self {
            Method::Direct | Method::Subgroup { .. } => 0,
            Method::Rows => ROWS_MEMORY,
            Method::Tile { .. } => tile_memory(&constants),
            Method::Matrix { .. } => matrix_memory(&constants),
        }
    }
}

/// Workgroup memory of `attention_rows`.
pub const ROWS_MEMORY: u32 = 2176;

/// Workgroup memory of `attention`.
pub fn tile_memory(constants: &Constants) -> u32 {
    let (rows, d4) = (value(constants, "ROWS"), value(constants, "D4"));
    16 * (8 * rows + 32) * (d4 + 1) + 1280 * rows
}

/// Workgroup memory of `attention_matrix`.
pub fn matrix_memory(constants: &Constants) -> u32 {
    let get = |name| value(constants, name);
    let size = get("SIZE");
    let (queries, keys, width) = (get("SUBS") * size, get("MATS_K") * size, get("MATS_D") * size);
    let values = (keys * (width + 8)).max(width * (keys + 8));
    2 * (queries * (width + 8) + values + queries * (keys + 8)) + 4 * queries * (width.max(keys) + 4 + get("PARTS"))
}

/// Whether an invocation of the tiled kernel has the registers for its sums.
fn tile_fits(rows: u32, head_dim: u32) -> bool {
    rows * head_dim.div_ceil(32) <= MOST_SUMS
}

/// Whether all offsets, strides and widths are multiples of four elements.
fn by_fours(op: &Attention) -> bool {
    let strides = [op.q, op.k, op.v, op.o].map(|Strides { offset, outer, seq }| [offset, outer, seq]);
    op.head_dim.is_multiple_of(4) && strides.as_flattened().iter().all(|stride| stride.is_multiple_of(4))
}

/// Every kernel's name.
pub fn names() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|(name, _)| *name)
}

pub fn candidates(op: &Attention, capabilities: Capabilities) -> Vec<&'static str> {
    let size = capabilities.matrices.map_or(0, |matrices| matrices.size);
    let can = |method: Method| match method {
        Method::Direct => capabilities.software,
        Method::Rows => !capabilities.software,
        Method::Subgroup { .. } => capabilities.software && by_fours(op) && op.head_dim <= WIDEST_SUBGROUP,
        Method::Tile { rows } => !capabilities.software && by_fours(op) && tile_fits(rows, op.head_dim as u32),
        Method::Matrix { subs } => {
            let able = capabilities.matrices.is_some_and(|matrices| matrices.fixed || subs == 1);
            able && !capabilities.software && by_fours(op) && op.head_dim <= WIDEST_MATRIX
        }
    };
    let fits =
        |method: Method| method.memory(op.head_dim as u32, capabilities.matrices) <= capabilities.workgroup_memory;
    let mut able: Vec<_> = KERNELS.iter().filter(|(_, method)| can(*method) && fits(*method)).collect();
    able.sort_by_key(|(_, method)| {
        // Software adapters have few cores, so the larger block is always expected to be faster there.
        let busy = if capabilities.software { 0 } else { BUSY };
        let groups = op.q_len.div_ceil(method.queries(size) as usize) * op.heads * op.outer;
        let kind = match method {
            Method::Matrix { .. } => 0,
            Method::Tile { .. } | Method::Subgroup { .. } => 1,
            Method::Rows | Method::Direct => 2,
        };
        (kind, busy.saturating_sub(groups))
    });
    able.into_iter().map(|(name, _)| *name).collect()
}

pub fn dispatch(op: &Attention, kernel: &str, capabilities: Capabilities) -> Dispatch {
    let method = KERNELS.iter().find(|(name, _)| *name == kernel).map_or(Method::Direct, |(_, method)| *method);
    let shader = match method {
        Method::Direct => "attention_direct",
        Method::Rows => "attention_rows",
        Method::Subgroup { .. } => "attention_subgroup",
        Method::Tile { .. } => "attention",
        Method::Matrix { .. } => "attention_matrix",
    };
    let strides = |s: Strides| [s.offset as u32, s.outer as u32, s.seq as u32];
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
    let queries = method.queries(capabilities.matrices.map_or(0, |matrices| matrices.size));
    let groups = [(op.q_len as u32).div_ceil(queries), op.heads as u32, op.outer as u32];
    let mut dispatch = super::dispatch(shader, &params, groups);
    dispatch.constants = method.constants(op.head_dim as u32, by_fours(op), capabilities.matrices);
    dispatch.overrides = vec![("CAUSAL", u32::from(op.causal))];
    dispatch
}

/// The sets of constants that a shader is validated with: narrow, usual and unusual head widths.
pub fn variants(shader: &str) -> Vec<Constants> {
    let matrices = |size, lanes| Some(Matrices { size, lanes, fixed: true });
    let of = |method: Method, d: u32| match (method, shader) {
        (Method::Direct, "attention_direct") => vec![method.constants(d, true, None)],
        (Method::Rows, "attention_rows") => [true, false].map(|fours| method.constants(d, fours, None)).to_vec(),
        (Method::Subgroup { .. }, "attention_subgroup") if d <= WIDEST_SUBGROUP as u32 => {
            vec![method.constants(d, true, None)]
        }
        (Method::Tile { rows }, "attention") if tile_fits(rows, d) => vec![method.constants(d, true, None)],
        (Method::Matrix { .. }, "attention_matrix") => {
            let all = [matrices(8, 8), matrices(8, 32), matrices(8, 64), matrices(16, 32), matrices(16, 64)];
            all.map(|m| method.constants(d, true, m)).to_vec()
        }
        _ => Vec::new(),
    };
    KERNELS.iter().flat_map(|(_, method)| [12, 64, 80, 256].into_iter().flat_map(|d| of(*method, d))).collect()
}
