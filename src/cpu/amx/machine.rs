//! Whether the instructions are there, and a thread's use of them.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::kernels::*;
use super::{BF16_AHEAD, BLOCK, BYTE_AHEAD, Block, Line, PARTS, TILE, split};

/// Proof that this processor has the instructions, and that the system lets this process use them.
#[derive(Debug, Clone, Copy)]
pub struct Amx(());

/// What the tile registers hold: 16 lines of 64 bytes in each of the eight.
#[repr(C, align(64))]
struct Palette([u8; 64]);

static PALETTE: Palette = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut i = 0;
    while i < 8 {
        bytes[16 + 2 * i] = 64;
        bytes[48 + i] = TILE as u8;
        i += 1;
    }
    Palette(bytes)
};

impl Amx {
    /// The proof, where there is one; processor and system are asked at the first call alone.
    pub fn here() -> Option<Amx> {
        static FOUND: OnceLock<Option<Amx>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let vectors = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16");
            // Bits of EDX: bfloat16, tiles, bytes.
            let tiles = 1 << 22 | 1 << 24 | 1 << 25;
            let has = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & tiles == tiles;
            (vectors && has && permitted()).then_some(Amx(()))
        })
    }

    /// Makes this thread's tile registers ready.
    pub fn ready(self) -> Ready {
        // SAFETY: the processor has the instruction, the process may use it, and the palette is a valid one of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &PALETTE, options(nostack, readonly)) };
        Ready { this_thread: PhantomData }
    }

    /// Splits a row of f32 values into three parts in bfloat16, whose sum is within 2⁻²⁷ of the value: within 2⁻⁹ the first alone,
    /// within 2⁻¹⁸ the first two. `lines` begin with the row's own in tiles of `[step][part][16 rows]`.
    pub fn split_row(self, row: &[f32], lines: &mut [Line]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { split::row(row, lines) }
    }

    /// Splits 32 values of k in 32 columns into `[part][16 pairs of k][two lines]`, as many parts as there is room for.
    pub fn split_columns(self, values: &Block<f32>, parts: &mut [[Line; BLOCK]]) {
        // SAFETY: `self` proves that the processor has these instructions.
        unsafe { split::columns(values, parts) }
    }
}

/// Asks the system for the use of tile registers, which are large, so that not every process has them.
fn permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const REQUEST: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: this call reads and writes no memory of ours; an unknown request is an error.
    unsafe {
        asm!("syscall", inlateout("rax") answer, in("rdi") REQUEST, in("rsi") TILE_DATA, out("rcx") _, out("r11") _,
            options(nostack));
    }
    answer == 0
}

/// Tile registers of this thread, in use until this is dropped.
pub struct Ready {
    /// Registers are a thread's own: this is neither sent nor shared.
    this_thread: PhantomData<*const ()>,
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: the processor has the instruction. Without it the system would save kilobytes at each switch of threads.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

impl Ready {
    /// `sums += rows·columns`, of bytes without a sign by such with one. `rows` are one or two tiles of rows (the second may be
    /// empty), each of `steps` tiles along k. Each step asks for [`BYTE_AHEAD`] bytes of `ahead`.
    pub fn bytes(&self, rows: [&[Line]; 2], steps: usize, columns: &[Line], sums: &mut Block<i32>, ahead: &[u8]) {
        if steps == 0 {
            return;
        }
        let product = Product::new(rows, steps, 1, (columns, 1), (ahead, BYTE_AHEAD));
        let kernel = if product.two { bytes_2 } else { bytes_1 };
        // SAFETY: `product` was checked, and the tile registers are ready on this thread.
        unsafe { kernel(product, sums.as_mut_ptr().cast()) }
    }

    /// The same of f32 values that are split into parts: three in `rows`, one to [`PARTS`] in `columns`. Left out are products of
    /// parts that would add less than 2⁻²⁶ of the whole.
    pub fn bf16(
        &self,
        rows: [&[Line]; 2],
        steps: usize,
        columns: (&[Line], usize),
        sums: &mut Block<f32>,
        ahead: &[u8],
    ) {
        if steps == 0 {
            return;
        }
        let product = Product::new(rows, steps, PARTS, columns, (ahead, BF16_AHEAD));
        let kernel = match (product.two, columns.1) {
            (false, 1) => bf16_1_1,
            (false, 2) => bf16_1_2,
            (false, _) => bf16_1_3,
            (true, 1) => bf16_2_1,
            (true, 2) => bf16_2_2,
            (true, _) => bf16_2_3,
        };
        // SAFETY: `product` was checked, and the tile registers are ready on this thread.
        unsafe { kernel(product, sums.as_mut_ptr().cast()) }
    }
}
