//! What must not be in a kernel that a GPU can be given.

use crate::Row;

/// Kernels that may load 16 bits at a time in loops, each with the reason.
const NARROW: [(&str, &str); 5] = [
    ("attention_rows", "with heads whose width is no multiple of four it reads single values; with others, 64 bits"),
    ("linear_scalar", "its rows have a length that is no multiple of four, so they don't begin at whole words"),
    ("layer_norm", "it is for rows whose length is no multiple of four"),
    ("pool", "it is for any width, and reads one value a token in a single pass"),
    ("attention_map", "it is for any width of heads, and runs only where maps are asked for"),
];

/// What is wrong with a kernel: spilled registers, variables in memory, narrow loads in loops.
#[must_use]
pub fn of(row: &Row) -> Vec<String> {
    let mut faults = Vec::new();
    if row.spilled > 0 {
        faults.push(format!("{} registers are spilled", row.spilled));
    }
    if row.scratch > 0 {
        faults.push(format!("{} bytes of variables are in memory", row.scratch));
    }
    if row.loops.narrow() > 0 && !NARROW.iter().any(|(kernel, _)| *kernel == row.kernel) {
        faults.push(format!("{} loads of less than 32 bits are in loops", row.loops.narrow()));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{Loops, Widths};

    #[test]
    fn each_fault_is_found_and_exceptions_are_for_narrow_loads_only() {
        let narrow = Loops { shared: Widths::from([(16, 2), (128, 1)]), ..Loops::default() };
        let row = |kernel: &str, spilled, scratch| {
            of(&Row { kernel: kernel.into(), spilled, scratch, loops: narrow.clone(), ..Row::default() })
        };
        assert_eq!(row("linear_matrix_2x2", 0, 0), ["2 loads of less than 32 bits are in loops"]);
        assert_eq!(row("linear_matrix_2x2", 3, 4).len(), 3);
        assert_eq!(row("pool", 0, 0), [""; 0]);
        assert_eq!(row("pool", 1, 0), ["1 registers are spilled"]);
    }
}
