//! Rows as Markdown, and as lines that one process hands to another.

use crate::Row;
use crate::assembly::{Loops, Widths};

const TITLES: [&str; 12] = [
    "kernel",
    "constants",
    "registers",
    "spilled",
    "scratch",
    "workgroup memory",
    "waves",
    "instructions",
    "latency",
    "throughput",
    "matrix",
    "loads in loops",
];

/// A table in Markdown.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut text = format!("| {} |\n|---|---|{}---|\n", TITLES.join(" | "), "---:|".repeat(9));
    for row in rows {
        let Row { kernel, precision, constants, registers, spilled, scratch, shared, waves, instructions, .. } = row;
        let (latency, throughput, matrix) = (row.latency, row.throughput, row.loops.matrix);
        text.push_str(&format!(
            "| {kernel} {precision} | {constants} | {registers} | {spilled} | {scratch} | {shared} | {waves} | {instructions} \
             | {latency} | {throughput} | {matrix} | {} |\n",
            loads(&row.loops)
        ));
    }
    text
}

/// Such as `workgroup 16×b128; buffer 8×b64`.
fn loads(loops: &Loops) -> String {
    let one = |name: &str, widths: &Widths| {
        let each: Vec<_> = widths.iter().map(|(bits, count)| format!("{count}×b{bits}")).collect();
        (!each.is_empty()).then(|| format!("{name} {}", each.join(" ")))
    };
    let both = [one("workgroup", &loops.shared), one("buffer", &loops.buffer)];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// A row as one line, with tabs between its parts.
#[must_use]
pub fn line(row: &Row) -> String {
    let widths = |widths: &Widths| widths.iter().map(|(bits, n)| format!("{bits}:{n}")).collect::<Vec<_>>().join(" ");
    let numbers = [row.registers, row.spilled, row.scratch, row.shared, row.waves, row.instructions, row.latency];
    let numbers = numbers.into_iter().chain([row.throughput, row.loops.instructions, row.loops.matrix]);
    let mut parts = vec![row.kernel.clone(), row.precision.clone(), row.constants.clone()];
    parts.extend(numbers.map(|number| number.to_string()));
    parts.extend([widths(&row.loops.shared), widths(&row.loops.buffer)]);
    parts.join("\t")
}

/// The row of such a line; `None` if it is another line.
#[must_use]
pub fn row(line: &str) -> Option<Row> {
    let parts: Vec<&str> = line.split('\t').collect();
    let [kernel, precision, constants, numbers @ .., shared, buffer] = &parts[..] else { return None };
    let numbers = numbers.iter().map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let [registers, spilled, scratch, memory, waves, instructions, latency, throughput, inside, matrix] = numbers[..]
    else {
        return None;
    };
    let widths = |text: &str| {
        let pair = |pair: &str| pair.split_once(':').and_then(|(bits, n)| Some((bits.parse().ok()?, n.parse().ok()?)));
        text.split_whitespace().map(pair).collect::<Option<Widths>>()
    };
    Some(Row {
        kernel: (*kernel).to_owned(),
        precision: (*precision).to_owned(),
        constants: (*constants).to_owned(),
        registers,
        spilled,
        scratch,
        shared: memory,
        waves,
        instructions,
        latency,
        throughput,
        loops: Loops { instructions: inside, matrix, shared: widths(shared)?, buffer: widths(buffer)? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_its_row_back() {
        let loops =
            Loops { instructions: 9, matrix: 8, shared: Widths::from([(16, 1), (128, 2)]), buffer: Widths::new() };
        let given = Row { kernel: "a".into(), precision: "f16".into(), latency: 7, waves: 3, loops, ..Row::default() };
        assert_eq!(row(&line(&given)), Some(given.clone()));
        assert_eq!(row("radv: a message\t1"), None);
        let text = markdown(&[given]);
        assert!(
            text.ends_with("| a f16 |  | 0 | 0 | 0 | 0 | 3 | 0 | 7 | 0 | 8 | workgroup 1×b16 2×b128 |\n"),
            "{text}"
        );
        let columns: Vec<_> = text.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(columns, [13, 13, 13]);
    }
}
