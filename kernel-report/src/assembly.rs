//! Reads ACO's assembly: which instructions are in loops, how wide their loads are, and whether matrix cores are used.
//!
//! A loop is what lies between a label and a branch back to it. RDNA2 and RDNA3 have different names for the same loads:
//! `ds_read_u16_d16` and `ds_load_u16_d16`, `buffer_load_dwordx2` and `buffer_load_b64`.

use std::collections::{BTreeMap, HashMap};

/// Numbers of loads by their width in bits.
pub type Widths = BTreeMap<u32, u64>;

/// What is in a shader's loops.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loops {
    /// Instructions.
    pub instructions: u64,
    /// Products of matrices.
    pub matrix: u64,
    /// Loads from workgroup memory.
    pub shared: Widths,
    /// Loads from buffers.
    pub buffer: Widths,
}

impl Loops {
    /// Loads narrower than 32 bits.
    #[must_use]
    pub fn narrow(&self) -> u64 {
        let of = |widths: &Widths| widths.range(..32).map(|(_, count)| *count).sum::<u64>();
        of(&self.shared) + of(&self.buffer)
    }
}

/// What is in the loops of a shader.
#[must_use]
pub fn loops(assembly: &str) -> Loops {
    let lines: Vec<&str> = assembly.lines().map(|line| line.split(';').next().unwrap_or("").trim()).collect();
    let labels: HashMap<&str, usize> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((line.strip_suffix(':')?, at))).collect();
    let mut inside = vec![false; lines.len()];
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("branch")) {
        let target = line.split_whitespace().last().and_then(|label| labels.get(label));
        if let Some(&start) = target.filter(|start| **start < at) {
            inside[start..=at].fill(true);
        }
    }
    let mut found = Loops::default();
    for line in lines.iter().zip(&inside).filter(|(_, inside)| **inside).map(|(line, _)| *line) {
        let Some(name) = line.split_whitespace().next().filter(|name| !name.ends_with(':')) else { continue };
        found.instructions += 1;
        found.matrix += u64::from(name.starts_with("v_wmma"));
        let widths = match name.split_once('_') {
            Some(("ds", rest)) if rest.starts_with("load") || rest.starts_with("read") => &mut found.shared,
            Some(("buffer" | "global", rest)) if rest.starts_with("load") => &mut found.buffer,
            _ => continue,
        };
        *widths.entry(width(name)).or_default() += 1;
    }
    found
}

/// The width in bits of what a load brings each invocation.
fn width(name: &str) -> u32 {
    let has = |part: &str| name.split('_').any(|word| word == part);
    let one = match () {
        () if has("b128") || has("dwordx4") => 128,
        () if has("b96") || has("dwordx3") => 96,
        () if has("b64") || has("dwordx2") => 64,
        () if has("b32") || has("dword") => 32,
        () if ["u8", "i8", "ubyte", "sbyte"].into_iter().any(has) => 8,
        () => 16,
    };
    // One instruction may bring two values from two places.
    if has("2addr") || has("read2") || has("read2st64") { 2 * one } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "BB0:
\tbuffer_load_d16_b16 v1, v2, s[0:3], 0 offen                 ; e0000000
BB1:
\ts_cbranch_scc1 BB3                                          ; bfa20187
\tbuffer_load_b64 v[1:2], v3, s[0:3], 0 offen                 ; e0000000
\tbuffer_load_dwordx4 v[1:4], v3, s[0:3], 0 offen             ; e0000000
BB2:
\tds_load_u16_d16_hi v1, v2 offset:2                          ; d8000000
\tds_load_2addr_b64 v[1:4], v5 offset1:1                      ; d8000000
\tds_read_b128 v[1:4], v5                                     ; d8000000
\ts_cbranch_vccnz BB2                                         ; bfa20187
\tv_wmma_f32_16x16x16_f16 v[1:4], v[5:12], v[13:20], v[1:4]   ; cc400000
\ts_branch BB1                                                ; bfa0fe76
BB3:
\tds_read_u16_d16 v1, v2                                      ; d8000000
\ts_endpgm                                                    ; bfb00000";

    #[test]
    fn only_what_is_in_loops_counts() {
        let found = loops(TEXT);
        assert_eq!((found.instructions, found.matrix), (9, 1));
        assert_eq!(found.shared, Widths::from([(16, 1), (128, 2)]));
        assert_eq!(found.buffer, Widths::from([(64, 1), (128, 1)]));
        assert_eq!(found.narrow(), 1);
    }

    #[test]
    fn both_generations_of_names_have_a_width() {
        for (name, bits) in [
            ("ds_read_u16_d16", 16),
            ("buffer_load_short_d16_hi", 16),
            ("buffer_load_d16_b16", 16),
            ("buffer_load_ubyte", 8),
            ("ds_read2st64_b32", 64),
            ("ds_load_2addr_b32", 64),
            ("buffer_load_dword", 32),
            ("global_load_b96", 96),
        ] {
            assert_eq!(width(name), bits, "{name}");
        }
    }
}
