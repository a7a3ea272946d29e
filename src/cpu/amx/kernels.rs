//! The inner loops.

use std::arch::asm;

use super::{BLOCK, Line, PARTS, TILE};

/// Where a kernel reads; the lengths were checked.
pub struct Product {
    rows: *const Line,
    next_rows: *const Line,
    columns: *const Line,
    steps: usize,
    /// What the first step asks for, and how far the next one's is.
    ahead: *const u8,
    stride: usize,
    /// Whether there are two rows of tiles.
    pub two: bool,
}

impl Product {
    /// `rows` are one or two tiles of rows, each of `steps` steps with `row_parts` parts; `columns` are two, with `parts` parts.
    pub fn new(
        [rows, next_rows]: [&[Line]; 2],
        steps: usize,
        row_parts: usize,
        (columns, parts): (&[Line], usize),
        (ahead, ask): (&[u8], usize),
    ) -> Product {
        let len = steps * row_parts * TILE;
        let two = !next_rows.is_empty();
        assert!(rows.len() == len && (!two || next_rows.len() == len), "rows of other tiles");
        assert!(columns.len() == steps * parts * BLOCK && (1..=PARTS).contains(&parts), "columns of other tiles");
        let ahead = ahead.get(..steps * ask);
        Product {
            rows: rows.as_ptr(),
            next_rows: next_rows.as_ptr(),
            columns: columns.as_ptr(),
            steps,
            // To ask for what is there already costs little.
            ahead: ahead.map_or(columns.as_ptr().cast(), <[u8]>::as_ptr),
            stride: if ahead.is_some() { ask } else { 0 },
            two,
        }
    }
}

/// Loads the tiles of rows of the part at `$at`.
macro_rules! rows {
    (1, $at:literal) => {
        concat!("tileloadd tmm4, [{rows} + {line} + ", $at, "*1024]\n")
    };
    (2, $at:literal) => {
        concat!(rows!(1, $at), "tileloadd tmm5, [{next_rows} + {line} + ", $at, "*1024]\n")
    };
}
/// The same of rows in eight bits, which pass by the nearest cache: there is room in it for a panel, which is read again for other rows.
macro_rules! passing_rows {
    (1) => {
        "tileloaddt1 tmm4, [{rows} + {line}]\n"
    };
    (2) => {
        concat!(passing_rows!(1), "tileloaddt1 tmm5, [{next_rows} + {line}]\n")
    };
}
/// Loads the two tiles of columns of the part at `$at`.
macro_rules! columns {
    ($at:literal) => {
        concat!(
            "tileloadd tmm6, [{columns} + {two_lines} + ",
            $at,
            "*2048]\ntileloadd tmm7, [{columns} + {two_lines} + ",
            $at,
            "*2048 + 64]\n",
        )
    };
}
macro_rules! multiply {
    (1, $op:literal) => {
        concat!($op, " tmm0, tmm4, tmm6\n", $op, " tmm1, tmm4, tmm7\n")
    };
    (2, $op:literal) => {
        concat!(multiply!(1, $op), $op, " tmm2, tmm5, tmm6\n", $op, " tmm3, tmm5, tmm7\n")
    };
}
macro_rules! load_sums {
    (1) => {
        "tileloadd tmm0, [{sums} + {two_lines}]\ntileloadd tmm1, [{sums} + {two_lines} + 64]\n"
    };
    (2) => {
        concat!(
            load_sums!(1),
            "tileloadd tmm2, [{sums} + {two_lines} + 2048]\ntileloadd tmm3, [{sums} + {two_lines} + 2112]\n"
        )
    };
}
macro_rules! store_sums {
    (1) => {
        "tilestored [{sums} + {two_lines}], tmm0\ntilestored [{sums} + {two_lines} + 64], tmm1\n"
    };
    (2) => {
        concat!(
            store_sums!(1),
            "tilestored [{sums} + {two_lines} + 2048], tmm2\ntilestored [{sums} + {two_lines} + 2112], tmm3\n"
        )
    };
}
macro_rules! ask {
    ($($line:literal)*) => { concat!($("prefetcht1 [{ahead} + 64*", $line, "]\n"),*) };
}
/// A function that adds the product's steps to the sums. `$count` is the number of tiles of rows; `$step` what is done at
/// each step, which has `$row_parts` parts of rows and `$parts` of columns.
macro_rules! kernel {
    ($name:ident, $count:tt, $row_parts:literal, $parts:literal, $ask:expr, $step:expr) => {
        /// # Safety
        /// The thread's tile registers are ready; `sums` is a block of sums; `product` was checked for these numbers of parts.
        pub unsafe fn $name(product: Product, sums: *mut u8) {
            // SAFETY: `Product::new` has checked how much there is to read. Tile registers are named as changed, which is all
            // that the compiler has to know about them.
            unsafe {
                asm!(
                    load_sums!($count),
                    "2:",
                    $ask,
                    $step,
                    concat!("add {rows}, ", $row_parts, "*1024"),
                    concat!("add {next_rows}, ", $row_parts, "*1024"),
                    concat!("add {columns}, ", $parts, "*2048"),
                    "add {ahead}, {stride}",
                    "dec {steps}",
                    "jnz 2b",
                    store_sums!($count),
                    rows = inout(reg) product.rows => _,
                    next_rows = inout(reg) product.next_rows => _,
                    columns = inout(reg) product.columns => _,
                    steps = inout(reg) product.steps => _,
                    ahead = inout(reg) product.ahead => _,
                    stride = in(reg) product.stride,
                    sums = in(reg) sums,
                    line = in(reg) 64usize,
                    two_lines = in(reg) 128usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}
/// Multiplies after each load, which changes the parts of rows or of columns.
macro_rules! after_each {
    ($count:tt, $($load:expr),*) => { concat!($($load, multiply!($count, "tdpbf16ps")),*) };
}
/// Products of parts, the smallest first, for so many parts of columns.
macro_rules! bf16 {
    ($count:tt, 1) => {
        after_each!($count, concat!(columns!(0), rows!($count, 2)), rows!($count, 1), rows!($count, 0))
    };
    ($count:tt, 2) => {
        after_each!(
            $count,
            concat!(rows!($count, 1), columns!(1)),
            rows!($count, 0),
            concat!(columns!(0), rows!($count, 2)),
            rows!($count, 1),
            rows!($count, 0)
        )
    };
    ($count:tt, 3) => {
        after_each!(
            $count,
            concat!(rows!($count, 0), columns!(2)),
            columns!(1),
            rows!($count, 1),
            columns!(0),
            rows!($count, 2),
            rows!($count, 0)
        )
    };
}

kernel!(bytes_1, 1, 1, 1, ask!(0 1 2 3), concat!(passing_rows!(1), columns!(0), multiply!(1, "tdpbusd")));
kernel!(bytes_2, 2, 1, 1, ask!(0 1 2 3), concat!(passing_rows!(2), columns!(0), multiply!(2, "tdpbusd")));
kernel!(bf16_1_1, 1, 3, 1, ask!(0 1 2 3 4 5 6 7 8), bf16!(1, 1));
kernel!(bf16_1_2, 1, 3, 2, ask!(0 1 2 3 4 5 6 7 8), bf16!(1, 2));
kernel!(bf16_1_3, 1, 3, 3, ask!(0 1 2 3 4 5 6 7 8), bf16!(1, 3));
kernel!(bf16_2_1, 2, 3, 1, ask!(0 1 2 3 4 5 6 7 8), bf16!(2, 1));
kernel!(bf16_2_2, 2, 3, 2, ask!(0 1 2 3 4 5 6 7 8), bf16!(2, 2));
kernel!(bf16_2_3, 2, 3, 3, ask!(0 1 2 3 4 5 6 7 8), bf16!(2, 3));
