//! The kernels for linear layers, and the order in which they are expected to be fast for a shape.

use super::params::LinearParams;
use super::{Capabilities, Dispatch, Matrices};
use crate::gpu::wgsl::{Constants, value};
use crate::ops::Linear;

/// A kernel and the shape of its tile.
struct Kernel {
    name: &'static str,
    method: Method,
}

#[derive(Clone, Copy)]
enum Method {
    /// A tile of 16×16 for shapes of any size.
    Scalar,
    /// 8·blocks rows × 32 columns in one subgroup of 8.
    Subgroup { blocks: u32 },
    /// A tile of lanes_y·rows rows and lanes_x·cols4 vec4 columns, through workgroup memory.
    Tile { lanes_y: u32, lanes_x: u32, rows: u32, cols4: u32, k4: u32 },
    /// Numbers of subgroups (`subs`) and of matrices in each subgroup (`mats`): (down, across).
    Matrix { subs: (u32, u32), mats: (u32, u32) },
}

const fn tile(name: &'static str, (lanes_y, lanes_x): (u32, u32), (rows, cols4): (u32, u32), k4: u32) -> Kernel {
    Kernel { name, method: Method::Tile { lanes_y, lanes_x, rows, cols4, k4 } }
}

const fn matrix(name: &'static str, subs: (u32, u32), mats: (u32, u32)) -> Kernel {
    Kernel { name, method: Method::Matrix { subs, mats } }
}

/// Larger tiles first within a kind: they read less per multiply-add, smaller ones fill a GPU with less work.
static KERNELS: [Kernel; 12] = [
    matrix("linear_matrix_8x8", (2, 2), (4, 4)),
    matrix("linear_matrix_4x4", (2, 2), (2, 2)),
    matrix("linear_matrix_4x4_alone", (1, 1), (4, 4)),
    matrix("linear_matrix_2x4", (1, 2), (2, 2)),
    matrix("linear_matrix_2x2", (1, 1), (2, 2)),
    tile("linear_tile_128x128", (16, 16), (8, 2), 4),
    tile("linear_tile_64x64", (8, 16), (8, 1), 4),
    tile("linear_tile_32x64", (8, 16), (4, 1), 4),
    tile("linear_tile_32x32", (8, 8), (4, 1), 4),
    Kernel { name: "linear_subgroup_24", method: Method::Subgroup { blocks: 3 } },
    Kernel { name: "linear_subgroup_16", method: Method::Subgroup { blocks: 2 } },
    Kernel { name: "linear_scalar", method: Method::Scalar },
];

/// Number of workgroups that keeps a large GPU busy. With fewer, a smaller tile is expected to be faster.
const BUSY: u32 = 132;

impl Method {
    /// The constants in front of the shader's text, for rows of `k` values.
    fn constants(self, matrices: Option<Matrices>, k: usize) -> Constants {
        match (self, matrices) {
            (Method::Subgroup { blocks }, _) => vec![("BLOCKS", blocks)],
            (Method::Tile { lanes_y, lanes_x, rows, cols4, k4 }, matrices) => {
                let lanes = lanes_y * lanes_x;
                vec![
                    ("LANES", lanes),
                    ("LANES_X", lanes_x),
                    ("LANES_Y", lanes_y),
                    ("ROWS", rows),
                    ("COLS4", cols4),
                    ("K4", k4),
                    ("X_LOADS", lanes_y * rows * k4 / lanes),
                    ("W_LOADS", 4 * k4 * lanes_x * cols4 / lanes),
                    ("KN", u32::from(matrices.is_none())),
                    ("NK", u32::from(matrices.is_some())),
                ]
            }
            (Method::Matrix { subs, mats }, Some(Matrices { size, lanes: sub_lanes, .. })) => {
                let lanes = subs.0 * subs.1 * sub_lanes;
                let step = 2 * size;
                let (rows, cols) = (subs.0 * mats.0 * size, subs.1 * mats.1 * size);
                // Every invocation brings as many pieces as the others.
                let even = |lines: u32| (lines * step / 8).is_multiple_of(lanes);
                let eights = k.is_multiple_of(8) && even(rows) && even(cols);
                let piece = if eights { 8 } else { 4 };
                vec![
                    ("LANES", lanes),
                    ("SUB_LANES", sub_lanes),
                    ("SUBS_Y", subs.0),
                    ("SUBS_X", subs.1),
                    ("MATS_Y", mats.0),
                    ("MATS_X", mats.1),
                    ("SIZE", size),
                    ("STEP", step),
                    ("STEPS", 2),
                    ("PIECE", piece),
                    ("EIGHTS", u32::from(eights)),
                    ("FOURS", u32::from(!eights)),
                    ("X_LOADS", rows * step / piece / lanes),
                    ("W_LOADS", cols * step / piece / lanes),
                ]
            }
            (Method::Scalar, _) | (Method::Matrix { .. }, None) => Vec::new(),
        }
    }

    /// Whether there are values for every invocation to bring.
    fn is_shared_out(self, matrices: Matrices) -> bool {
        let constants = self.constants(Some(matrices), 4);
        value(&constants, "X_LOADS") > 0 && value(&constants, "W_LOADS") > 0
    }

    /// Rows and columns of a workgroup's tile.
    fn tile(self, size: u32) -> (u32, u32) {
        match self {
            Method::Scalar => (16, 16),
            Method::Subgroup { blocks } => (8 * blocks, 32),
            Method::Tile { lanes_y, lanes_x, rows, cols4, .. } => (lanes_y * rows, 4 * lanes_x * cols4),
            Method::Matrix { subs, mats } => (subs.0 * mats.0 * size, subs.1 * mats.1 * size),
        }
    }

    /// Bytes of workgroup memory.
    fn memory(self, matrices: Option<Matrices>) -> u32 {
        // Workgroup memory does not depend on k.
        let constants = self.constants(matrices, 8);
        match self {
            Method::Scalar | Method::Subgroup { .. } => 0,
            Method::Tile { .. } => tile_memory(&constants),
            Method::Matrix { .. } => matrix_memory(&constants),
        }
    }
}

/// Workgroup memory of `linear_tile`.
pub fn tile_memory(constants: &Constants) -> u32 {
    let get = |name| value(constants, name);
    16 * get("K4") * (get("LANES_Y") * get("ROWS") + 4 * get("LANES_X") * get("COLS4"))
}

/// Workgroup memory of `linear_matrix`.
pub fn matrix_memory(constants: &Constants) -> u32 {
    let get = |name| value(constants, name);
    let (size, step) = (get("SIZE"), get("STEP"));
    let (rows, cols) = (get("SUBS_Y") * get("MATS_Y") * size, get("SUBS_X") * get("MATS_X") * size);
    let sums = get("SUBS_Y") * get("SUBS_X") * size * (get("MATS_X") * size + 4);
    2 * (rows + cols) * (step + 8) + 4 * sums
}

/// Every kernel's name.
pub fn names() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|kernel| kernel.name)
}

/// Whether rows of the factors and of the result begin at whole vec4s.
fn by_fours(op: &Linear) -> bool {
    [op.k, op.n, op.ld, op.y_col].iter().all(|size| size.is_multiple_of(4))
}

/// Whether the weight is stored as `[k, n]`, not as the file has it, `[n, k]`. With matrix cores, every kernel that a session has for a
/// layer wants k along the rows; without them, columns.
pub fn transposed(op: &Linear, capabilities: Capabilities) -> bool {
    capabilities.matrices.is_none() || !by_fours(op)
}

pub fn candidates(op: &Linear, capabilities: Capabilities) -> Vec<&'static str> {
    if !by_fours(op) {
        return vec!["linear_scalar"];
    }
    let size = capabilities.matrices.map_or(0, |matrices| matrices.size);
    let can = |method: Method| match method {
        Method::Scalar => false,
        Method::Subgroup { .. } => capabilities.software,
        Method::Tile { .. } => !capabilities.software,
        Method::Matrix { subs, mats } => capabilities.matrices.is_some_and(|matrices| {
            // One subgroup with as many sums as four have is for devices where there can't be four, if it has the registers: an
            // invocation of 32 would need more than 255 of them.
            let large = subs == (1, 1) && mats == (4, 4);
            let registers = !large || matrices.size == 8 || (!matrices.fixed && matrices.lanes >= 64);
            let together = matrices.fixed || subs == (1, 1);
            !capabilities.software && together && registers && method.is_shared_out(matrices)
        }),
    };
    let able = KERNELS.iter().filter(|kernel| can(kernel.method));
    let mut able: Vec<_> =
        able.filter(|kernel| kernel.method.memory(capabilities.matrices) <= capabilities.workgroup_memory).collect();
    // Matrix cores come first. Within a kind, the largest tile that keeps the device busy comes first, or else the smallest.
    able.sort_by_key(|kernel| {
        let (rows, cols) = kernel.method.tile(size);
        let groups = (op.m as u32).div_ceil(rows) * (op.n as u32).div_ceil(cols);
        let idle = if groups >= BUSY || capabilities.software { 0 } else { BUSY - groups };
        (!matches!(kernel.method, Method::Matrix { .. }), idle)
    });
    able.into_iter().map(|kernel| kernel.name).collect()
}

pub fn dispatch(op: &Linear, kernel: &str, capabilities: Capabilities) -> Dispatch {
    let method = KERNELS.iter().find(|known| known.name == kernel).map_or(Method::Scalar, |known| known.method);
    let (rows, cols) = method.tile(capabilities.matrices.map_or(0, |matrices| matrices.size));
    let (down, across) = ((op.m as u32).div_ceil(rows), (op.n as u32).div_ceil(cols));
    let (shader, groups) = match method {
        Method::Scalar => ("linear_scalar", [across, down, 1]),
        Method::Subgroup { .. } => ("linear_subgroup", [down, across, 1]),
        Method::Tile { .. } => ("linear_tile", [across, down, 1]),
        Method::Matrix { .. } => ("linear_matrix", [across, down, 1]),
    };
    let [m, n, k, x_row, y_row, y_col, ld] =
        [op.m, op.n, op.k, op.x_row, op.y_row, op.y_col, op.ld].map(|value| value as u32);
    let mut dispatch = super::dispatch(shader, &LinearParams { m, n, k, x_row, y_row, y_col, ld }, groups);
    dispatch.constants = method.constants(capabilities.matrices, op.k);
    dispatch.overrides = vec![
        ("ACTIVATION", op.act as u32),
        ("HAS_BIAS", u32::from(op.bias)),
        ("HAS_GAMMA", u32::from(op.gamma)),
        ("HAS_RESIDUAL", u32::from(op.residual)),
    ];
    dispatch
}

/// The sets of constants a shader runs with.
pub fn variants(shader: &str) -> Vec<Constants> {
    let matrices = |size, lanes| Some(Matrices { size, lanes, fixed: true });
    let of = |method: Method| match (method, shader) {
        (Method::Tile { .. }, "linear_tile") => [None, matrices(16, 32)].map(|m| method.constants(m, 8)).to_vec(),
        (Method::Subgroup { .. }, "linear_subgroup") => vec![method.constants(None, 8)],
        (Method::Matrix { .. }, "linear_matrix") => {
            let all = [(8, 8), (8, 32), (8, 64), (16, 32), (16, 64)];
            let all = all.map(|(size, lanes)| Matrices { size, lanes, fixed: true });
            let all = all.into_iter().filter(|&matrices| method.is_shared_out(matrices));
            let mut variants: Vec<_> = all.flat_map(|m| [8, 4].map(|k| method.constants(Some(m), k))).collect();
            variants.dedup();
            variants
        }
        _ => Vec::new(),
    };
    KERNELS.iter().flat_map(|kernel| of(kernel.method)).collect()
}
