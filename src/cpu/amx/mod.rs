//! Intel's matrix instructions (AMX), which multiply tiles of 16 rows by 16 columns. Everything that needs them is in this folder.
//!
//! A tile is 16 lines of 64 bytes. Rust has no stable functions for these instructions, so they are written in assembly. A factor
//! lies tile after tile, in the order in which the loop reads it:
//!
//! - rows: `[16 rows][64 bytes]`, the bytes being 32 values of k in bfloat16, or 64 in eight bits;
//! - columns: `[16 groups of k][32 columns][4 bytes]`, two tiles beside each other, a group being 2 values of k, or 4.
//!
//! Sums in bfloat16's products are f32, rounded to nearest; numbers under 2⁻¹²⁶ count as zero. Sums of bytes are whole and exact.

// Instructions that must be checked for, and assembly.
#![allow(unsafe_code)]

/// Number of rows of a tile.
pub const TILE: usize = 16;
/// Rows and columns of the largest block of sums: two tiles each way.
pub const BLOCK: usize = 2 * TILE;
/// Values of k in one step of a product of bytes.
pub const BYTE_STEP: usize = 64;
/// Values of k in one step of a product in bfloat16.
pub const BF16_STEP: usize = 32;
/// The most parts in bfloat16 that an f32 is split into.
pub const PARTS: usize = 3;
/// Bytes that each step of a product in bfloat16 asks for ahead of time, and each step of one of bytes. More would keep the loads of
/// tiles waiting.
pub const BF16_AHEAD: usize = 9 * 64;
pub const BYTE_AHEAD: usize = 4 * 64;

/// A cache line. What tiles are loaded from begins with one.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

impl Line {
    pub const ZERO: Line = Line([0; 64]);
}

/// The first `count` whole lines of `room`, which grows where it has to.
pub fn lines(room: &mut Vec<f32>, count: usize) -> &mut [Line] {
    const FLOATS: usize = size_of::<Line>() / size_of::<f32>();
    // What lies before the first line is less than one.
    let len = (count + 1) * FLOATS;
    if room.len() < len {
        room.resize(len, 0.0);
    }
    &mut bytemuck::pod_align_to_mut::<f32, Line>(room).1[..count]
}

/// A block of sums, f32 or i32.
pub type Block<T> = [[T; BLOCK]; BLOCK];

/// A block whose rows are whole lines.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct Sums<T>(pub Block<T>);

/// The tiles of a block's rows: that of its first row and, if the block has more rows than a tile, the next one.
pub fn tiles<'a>((row, rows): (usize, usize), tile: impl Fn(usize) -> &'a [Line]) -> [&'a [Line]; 2] {
    [tile(row / TILE), if rows > TILE { tile(row / TILE + 1) } else { &[] }]
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod kernels;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod split;

#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), path = "absent.rs")]
mod machine;

pub use machine::{Amx, Ready};
