//! The time of each kind of operation.

use std::io::{self, Write};

use serde_json::{Value, json};
use vit_gpu::internals::executor::{OpTime, Peak};

/// The operations of one kind, added up: those with the same name (in all blocks) and the same kernel.
pub struct Kind {
    pub label: String,
    kernel: &'static str,
    count: usize,
    pub seconds: f64,
    flop: f64,
    bytes: f64,
}

impl Kind {
    pub fn json(&self, limits: &Peak) -> Value {
        json!({
            "operation": self.label,
            "kernel": self.kernel,
            "count": self.count,
            "ms": 1e3 * self.seconds,
            "gflop_per_s": self.rate(self.flop),
            "gb_per_s": self.rate(self.bytes),
            "peak_share": self.share(limits),
        })
    }

    /// The share of the device's limit that it reaches: of the arithmetic or of the copy rate, whichever share is larger.
    fn share(&self, limits: &Peak) -> f64 {
        let (flop, bytes) = (1e9 * self.rate(self.flop), 1e9 * self.rate(self.bytes));
        (flop / limits.flop()).max(bytes / limits.copy)
    }

    /// `amount` per second, in units of 10⁹.
    fn rate(&self, amount: f64) -> f64 {
        if self.seconds > 0.0 { 1e-9 * amount / self.seconds } else { 0.0 }
    }
}

/// Sums over blocks, the longest first.
pub fn by_kind(times: &[OpTime]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for OpTime { label, kernel, seconds, cost } in times {
        let parts = label.split('.').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part });
        let label = parts.collect::<Vec<_>>().join(".");
        let known = kinds.iter().position(|kind| kind.label == label && kind.kernel == *kernel);
        let at = known.unwrap_or_else(|| {
            kinds.push(Kind { label, kernel, count: 0, seconds: 0.0, flop: 0.0, bytes: 0.0 });
            kinds.len() - 1
        });
        let kind = &mut kinds[at];
        kind.count += 1;
        kind.seconds += seconds;
        kind.flop += cost.flop;
        kind.bytes += cost.bytes;
    }
    kinds.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    kinds
}

/// One line a kind.
pub fn print(out: &mut impl Write, kinds: &[Kind], limits: &Peak) -> io::Result<()> {
    writeln!(
        out,
        "  {:<22} {:<24} {:>5} {:>11} {:>9} {:>9} {:>9}",
        "operation", "kernel", "count", "ms", "GFLOP/s", "GB/s", "of limit"
    )?;
    for kind in kinds {
        let Kind { label, kernel, count, seconds, flop, bytes } = kind;
        let (ms, gflop, gb, share) = (1e3 * seconds, kind.rate(*flop), kind.rate(*bytes), 100.0 * kind.share(limits));
        writeln!(out, "  {label:<22} {kernel:<24} {count:>5} {ms:>11.3} {gflop:>9.1} {gb:>9.1} {share:>7.0} %")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vit_gpu::internals::ops::Cost;

    #[test]
    fn blocks_are_summed_and_sorted() {
        let op = |label: &str, seconds| OpTime {
            label: label.into(),
            kernel: "k",
            seconds,
            cost: Cost { flop: 1e9, bytes: 2e9 },
        };
        let kinds = by_kind(&[op("blocks.0.attn.qkv", 1.0), op("tokens", 4.0), op("blocks.11.attn.qkv", 2.0)]);
        let labels: Vec<_> = kinds.iter().map(|kind| (kind.label.as_str(), kind.count)).collect();
        assert_eq!(labels, [("tokens", 1), ("blocks.*.attn.qkv", 2)]);
        assert!((kinds[1].rate(kinds[1].flop) - 2.0 / 3.0).abs() < 1e-12);
    }
}
