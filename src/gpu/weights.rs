//! Weights on the device: read one at a time, put in the kernels' layout, uploaded in bounded steps.

use std::collections::HashMap;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;

use super::device::OpenDevice;
use super::kernels::{Capabilities, transposed};
use crate::error::Result;
use crate::graph::{Dtype, Graph, Kind, WeightRef};
use crate::model::WeightLoader;

/// Bytes that are uploaded before waiting for the device.
const STEP: u64 = 16 << 20;

/// A weight and whether it lies transposed.
type Key = (WeightRef, bool);

/// The weights of one model that are on the device.
pub struct Weights {
    loader: Arc<dyn WeightLoader>,
    buffers: HashMap<Key, wgpu::Buffer>,
}

impl Weights {
    pub fn new(loader: Arc<dyn WeightLoader>) -> Self {
        Weights { loader, buffers: HashMap::new() }
    }

    pub fn get(&self, at: &WeightRef, transposed: bool) -> Option<&wgpu::Buffer> {
        self.buffers.get(&(at.clone(), transposed))
    }

    /// Loads the weights that a graph reads and that are not on the device yet.
    pub async fn load(&mut self, device: &OpenDevice, capabilities: Capabilities, graph: &Graph) -> Result<()> {
        let mut pending = 0;
        for node in graph.nodes() {
            for (operand, id) in node.inputs.iter().enumerate() {
                let Some(tensor) = id.map(|id| graph.tensor(id)) else { continue };
                let Kind::Weight(at) = &tensor.kind else { continue };
                let transpose = transposed(&node.op, operand, capabilities);
                if self.get(at, transpose).is_some() {
                    continue;
                }
                let size = tensor.bytes().next_multiple_of(16);
                let buffer = device
                    .scoped(&tensor.name, || {
                        device.device.create_buffer(&wgpu::BufferDescriptor {
                            label: Some(&tensor.name),
                            size,
                            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
                            mapped_at_creation: false,
                        })
                    })
                    .await?;
                let mut values = vec![0.0f32; tensor.len()];
                self.loader.load(&at.name, at.rows.map_or(0, |(first, _)| first), &mut values)?;
                let columns = if transpose { tensor.shape[0] } else { 1 };
                let inner = tensor.len() / columns;
                // Written in groups of whole rows of the device's layout (a value each, if nothing is transposed), so that no
                // staging copy is larger than STEP.
                let rows_a_step = rows_a_step(columns, inner, tensor.dtype.bytes());
                for first in (0..inner).step_by(rows_a_step) {
                    let rows = rows_a_step.min(inner - first);
                    let offset = (first * columns) as u64 * tensor.dtype.bytes();
                    let piece = if transpose {
                        encode(&transpose_rows(&values, inner, columns, first, rows), tensor.dtype)
                    } else {
                        encode(&values[first..first + rows], tensor.dtype)
                    };
                    device.queue.write_buffer(&buffer, offset, &piece);
                    pending += piece.len() as u64;
                    if pending >= STEP {
                        device.flush().await?;
                        pending = 0;
                    }
                }
                self.buffers.insert((at.clone(), transpose), buffer);
            }
        }
        device.flush().await
    }
}

/// How many rows are written at a time: about [`STEP`] bytes of floats, and bytes that wgpu can write, which are whole words at
/// an offset of whole words. Halves in rows of an odd length go in pairs of rows.
fn rows_a_step(columns: usize, inner: usize, bytes: u64) -> usize {
    let rows = (STEP as usize / (4 * columns)).clamp(1, inner.max(1));
    let odd = !(columns as u64 * bytes).is_multiple_of(4);
    if odd && rows < inner { rows.next_multiple_of(2) } else { rows }
}

/// Floats as the bytes of another type, filled up to whole words.
pub fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    let mut bytes = match dtype {
        Dtype::F16 => {
            let mut halves = vec![half::f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            bytemuck::cast_slice(&halves).to_vec()
        }
        Dtype::F32 | Dtype::U8 => bytemuck::cast_slice(values).to_vec(),
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Rows `first..first + rows` of the transpose of `values` `[columns, inner]`.
pub fn transpose_rows(values: &[f32], inner: usize, columns: usize, first: usize, rows: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    // Transposing in square blocks keeps source and destination in the cache.
    const BLOCK: usize = 16;
    for row in (0..rows).step_by(BLOCK) {
        for column in (0..columns).step_by(BLOCK) {
            for r in row..(row + BLOCK).min(rows) {
                for c in column..(column + BLOCK).min(columns) {
                    out[r * columns + c] = values[c * inner + first + r];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_piece_begins_at_a_whole_word() {
        for (columns, inner) in [(11_221, 768), (11_221, 373), (1, 9), (3, 5), (5_000_001, 7), (4, 1_000_000)] {
            for bytes in [2, 4] {
                let step = super::rows_a_step(columns, inner, bytes);
                assert!(step > 0, "{columns} {inner}");
                for first in (0..inner).step_by(step) {
                    assert!(((first * columns) as u64 * bytes).is_multiple_of(4), "{columns} {inner} {bytes} {first}");
                }
            }
        }
    }

    #[test]
    fn pieces_of_a_transpose_make_the_whole() {
        let (columns, inner) = (37, 21);
        let values: Vec<f32> = (0..columns * inner).map(|i| i as f32).collect();
        let mut whole = super::transpose_rows(&values, inner, columns, 0, 8);
        whole.extend(super::transpose_rows(&values, inner, columns, 8, 13));
        for row in 0..inner {
            for column in 0..columns {
                assert_eq!(whole[row * columns + column], values[column * inner + row]);
            }
        }
    }
}
