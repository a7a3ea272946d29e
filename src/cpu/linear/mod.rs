//! Linear layers. Weights are packed once; tiles are computed in registers; bias, activation and residual follow while the tile is in cache.
//!
//! Written here because existing crates are slower for so few rows, where packing the weights at every call costs a lot:
//! docs/performance.md has the measurements (`gemm`, `rten-gemm`).

mod factors;
mod tile;

use std::cell::Cell;
use std::sync::OnceLock;

use rayon::prelude::*;

pub use self::factors::Matrix;
use self::factors::{Factors, Room};
use self::tile::{Product, Tile};
use super::amx::Amx;
use super::pack::{Packed, Rows};
use super::pages::Arena;
use crate::error::Result;
use crate::ops::{Data, Linear, Operands};

/// Number of tasks per thread: enough that no thread waits long for the last task.
const TASKS: usize = 4;

thread_local! {
    /// New memory for every task would cost more than the conversion.
    static ROOM: Cell<Room> = Cell::default();
}

/// `operands` are those of [`Linear`]. With `matrix`, that weight is used, which is already laid out.
///
/// # Errors
/// [`crate::Error::OutOfMemory`] if there is no room to lay out the weight.
pub fn run(
    op: &Linear,
    operands: &Operands<'_>,
    matrix: Option<&Matrix>,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) -> Result<()> {
    let [x, w, bias, gamma, residual] = [0, 1, 2, 3, 4].map(|i| operands[i].map_or(&[][..], Data::f32));
    if op.m == 0 || op.n == 0 {
        return Ok(());
    }
    let fresh;
    let matrix = match matrix {
        Some(matrix) => matrix,
        None => {
            fresh = Matrix::F32(Packed::new(&mut Arena::small(), w, op.n, op.k)?);
            &fresh
        }
    };
    let x = &x[op.x_row * op.k..];
    let tiles = matrix.tiles(op.m);
    let factors = Factors::new(x, op, &tiles, matrix, scratch);
    let first = op.y_row * op.ld;
    let residual = if op.residual { &residual[first..] } else { &[] };
    let product = Product { op, factors, bias, gamma, residual };
    let rows = out[first..].chunks_mut(op.ld).take(op.m).map(|row| &mut row[op.y_col..op.y_col + op.n]).collect();
    split(&product, &tiles, rows).into_par_iter().for_each(|task| task.run(&product));
    Ok(())
}

/// The part of the output that one task computes: some tiles of rows and some columns.
struct Task<'t, 'o> {
    tiles: &'t [Rows],
    /// First column, a multiple of the panel's.
    col: usize,
    /// This task's columns of each output row, starting at the first tile's first row.
    out: Vec<&'o mut [f32]>,
}

/// Divides the output into tasks, so that a task's rows fit a core's cache and each thread gets a few tasks.
fn split<'t, 'o>(product: &Product<'_>, tiles: &'t [Rows], mut rows: Vec<&'o mut [f32]>) -> Vec<Task<'t, 'o>> {
    let n = product.op.n;
    let width = product.factors.width();
    let most_rows = tiles.iter().map(|(_, rows)| *rows).max().unwrap_or(1);
    let panels = n.div_ceil(width);
    let bytes = product.factors.bytes() * product.factors.depth(product.op.k);
    // Packed rows take the greater part of the core's own cache; panels of weights need the rest.
    let fitting = (own_cache() / 8 * 5 / (bytes * most_rows)).max(1);
    let down = tiles.len().div_ceil(fitting);
    let across = (TASKS * rayon::current_num_threads()).div_ceil(down).clamp(1, panels);
    let mut tasks = Vec::with_capacity(down * across);
    for i in 0..down {
        let tiles = &tiles[i * tiles.len() / down..(i + 1) * tiles.len() / down];
        let count: usize = tiles.iter().map(|(_, rows)| rows).sum();
        let mut rest: Vec<&mut [f32]> = rows.drain(..count).collect();
        for j in 0..across {
            let (from, to) = (j * panels / across * width, ((j + 1) * panels / across * width).min(n));
            let (out, after) = rest.into_iter().map(|row| row.split_at_mut(to - from)).unzip();
            rest = after;
            tasks.push(Task { tiles, col: from, out });
        }
    }
    tasks
}

/// Bytes of the cache that each core has to itself: the second level's, where the system tells.
fn own_cache() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let told = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").unwrap_or_default();
        let kib = told.trim().strip_suffix('K').and_then(|kib| kib.parse::<usize>().ok());
        kib.map_or(1 << 20, |kib| (kib << 10).clamp(256 << 10, 4 << 20))
    })
}

impl Task<'_, '_> {
    fn run(mut self, product: &Product<'_>) {
        let arch = pulp::Arch::new();
        let first = self.tiles[0].0;
        let cols = self.out[0].len();
        let width = product.factors.width();
        let ready = product.factors.amx().map(Amx::ready);
        let mut room = ROOM.take();
        let (k, depth) = (product.op.k, product.factors.depth(product.op.k));
        // A product without any k still has its bias.
        for start in (0..k.max(1)).step_by(depth) {
            let part = start..(start + depth).min(k);
            for from in (0..cols).step_by(width) {
                let col = self.col + from;
                let i = col / width;
                let panel = product.factors.panel(i, &part, &mut room);
                // The first tiles announce the next panel.
                let mut ahead = product.factors.next_panel(i, &part);
                for &(row, rows) in self.tiles {
                    let out = &mut self.out[row - first..row - first + rows];
                    let ready = ready.as_ref();
                    arch.dispatch(Tile { product, part: part.clone(), panel, ahead, ready, row, col, from, out });
                    ahead = ahead.get(product.factors.ahead() * (part.len())..).unwrap_or_default();
                }
            }
        }
        ROOM.set(room);
    }
}
