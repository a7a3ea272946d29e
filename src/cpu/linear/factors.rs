//! The two factors of a product, in the form in which each kind of tile takes them.

use std::ops::Range;

use super::super::amx::{self, Amx};
use super::super::pack::{Packed, Rows, blocks, pack_rows, tiles};
use super::super::prefetch::LINE;
use super::super::{bf16x3, int8};
use crate::ops::Linear;

/// How much of k is multiplied at a time, so that the packed rows of many tiles stay in the core's own cache while all panels of
/// weights pass by. Sums go on where the part before has left them, so that this changes no result.
const DEPTH: usize = 768;

/// A weight laid out for products.
pub enum Matrix {
    F32(Packed),
    /// The same for matrix instructions.
    Bf16x3(Amx, Packed),
    Int8(int8::Weights),
}

impl Matrix {
    /// Number of values of the weight.
    pub fn len(&self) -> usize {
        match self {
            Matrix::F32(weight) | Matrix::Bf16x3(_, weight) => weight.len(),
            Matrix::Int8(weight) => weight.len(),
        }
    }

    /// Divides `m` rows into tiles.
    pub fn tiles(&self, m: usize) -> Vec<Rows> {
        match self {
            Matrix::F32(weight) => tiles(m, weight.shape.rows),
            Matrix::Bf16x3(..) => blocks(m, amx::BLOCK),
            Matrix::Int8(weight) => weight.tiles(m),
        }
    }
}

/// The two factors of a product: packed rows and the weight.
pub enum Factors<'a> {
    F32(&'a [f32], &'a Packed),
    Bf16x3(bf16x3::Rows<'a>, &'a Packed),
    Int8(int8::Activations<'a>, &'a int8::Weights),
}

impl<'a> Factors<'a> {
    /// Lays out the rows `x` of a product in `room`.
    pub fn new(x: &[f32], op: &Linear, tiles: &[Rows], matrix: &'a Matrix, room: &'a mut Vec<f32>) -> Factors<'a> {
        match matrix {
            Matrix::F32(weight) => {
                pack_rows(x, op.k, tiles, room);
                Factors::F32(room, weight)
            }
            Matrix::Bf16x3(amx, weight) => Factors::Bf16x3(bf16x3::Rows::new(*amx, x, (op.m, op.k), room), weight),
            Matrix::Int8(weight) => Factors::Int8(int8::round(x, weight, tiles, room), weight),
        }
    }

    /// The columns of a tile.
    pub fn width(&self) -> usize {
        match self {
            Factors::F32(_, weight) => weight.shape.cols,
            Factors::Bf16x3(..) => amx::BLOCK,
            Factors::Int8(..) => int8::COLS,
        }
    }

    /// The columns of panel `i` in a part of k, laid out in `room` if they have to be.
    pub fn panel<'p>(&'p self, i: usize, part: &Range<usize>, room: &'p mut Room) -> Panel<'p> {
        match self {
            Factors::F32(_, weight) => Panel::F32(weight.panel(i, part, &mut room.values)),
            Factors::Bf16x3(rows, weight) => {
                room.parts.split(rows.amx, weight, weight.panel(i, part, &mut room.values));
                Panel::Parts(&room.parts)
            }
            Factors::Int8(..) => Panel::Own,
        }
    }

    /// Bytes of a value of the rows.
    pub fn bytes(&self) -> usize {
        match self {
            Factors::F32(..) => size_of::<f32>(),
            Factors::Bf16x3(..) => 2 * amx::PARTS,
            Factors::Int8(..) => 1,
        }
    }

    /// How much of k is multiplied at a time: k, divided evenly into whole steps.
    pub fn depth(&self, k: usize) -> usize {
        let even = k.div_ceil(k.div_ceil(DEPTH).max(1)).max(1);
        match self {
            Factors::F32(..) => even,
            Factors::Bf16x3(..) => even.next_multiple_of(amx::BF16_STEP),
            Factors::Int8(..) => k.max(1),
        }
    }

    /// How many bytes of the next panel a tile asks for, for each value of k.
    pub fn ahead(&self) -> usize {
        match self {
            Factors::F32(..) => LINE,
            Factors::Bf16x3(..) => amx::BF16_AHEAD / amx::BF16_STEP,
            Factors::Int8(..) => amx::BYTE_AHEAD / amx::BYTE_STEP,
        }
    }

    /// What is read after a panel and a part of k.
    pub fn next_panel(&self, i: usize, part: &Range<usize>) -> &[u8] {
        match self {
            Factors::F32(_, weight) | Factors::Bf16x3(_, weight) => weight.next_panel(i, part),
            Factors::Int8(_, weight) => weight.next_panel(i),
        }
    }

    /// What its tiles need, if they are computed by matrix instructions.
    pub fn amx(&self) -> Option<Amx> {
        match self {
            Factors::F32(..) => None,
            Factors::Bf16x3(rows, _) => Some(rows.amx),
            Factors::Int8(_, weight) => weight.amx(),
        }
    }
}

/// Memory for a panel in the form in which it is multiplied.
#[derive(Default)]
pub struct Room {
    values: Vec<f32>,
    parts: bf16x3::Panel,
}

/// The columns of a weight, for a part of k.
#[derive(Clone, Copy)]
pub enum Panel<'a> {
    F32(&'a [f32]),
    Parts(&'a bf16x3::Panel),
    /// The kernel reads the weight where it is.
    Own,
}
