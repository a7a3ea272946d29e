//! Assembles a shader's text: puts constants in front and unrolls loops.
//!
//! Register tiles must be single variables and code without loops, because drivers keep arrays in memory and may not unroll loops.
//! So shader files mark the loops that are unrolled here:
//!
//! ```text
//! //# for r in ROWS
//!     var acc${r} = vec4(0.0);
//! //# end
//! ```
//!
//! `ROWS` is a number or a constant's name; loops nest; `${NAME}` anywhere stands for the constant's value.

use crate::graph::Precision;

/// Constants by name.
pub type Constants = Vec<(&'static str, u32)>;

/// The whole text: `enable`s, the element types `E` and `E4` of a precision, constants, then `parts` with their loops unrolled.
pub fn assemble(parts: &[&str], enables: &[&str], precision: Precision, constants: &[(&str, u32)]) -> String {
    let mut text: String = enables.iter().map(|name| format!("enable {name};\n")).collect();
    text.push_str(match precision {
        Precision::F32 | Precision::I8 => "alias E = f32;\nalias E4 = vec4<f32>;\n",
        Precision::F16 => "alias E = f16;\nalias E4 = vec4<f16>;\n",
    });
    for (name, value) in constants {
        text.push_str(&format!("const {name}: u32 = {value}u;\n"));
    }
    let constants: Vec<(String, u32)> = constants.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    for part in parts {
        expand(&part.lines().collect::<Vec<_>>(), &constants, &mut text);
    }
    text
}

fn expand(lines: &[&str], known: &[(String, u32)], out: &mut String) {
    let mut at = 0;
    while at < lines.len() {
        let Some((variable, count)) = loop_head(lines[at]) else {
            out.push_str(&substituted(lines[at], known));
            out.push('\n');
            at += 1;
            continue;
        };
        let body = at + 1;
        let mut depth = 1;
        at = body;
        while depth > 0 && at < lines.len() {
            depth += usize::from(loop_head(lines[at]).is_some());
            depth -= usize::from(lines[at].trim() == "//# end");
            at += 1;
        }
        let count = count.parse().ok().or_else(|| known_value(known, count)).unwrap_or(0);
        for i in 0..count {
            let mut inner = known.to_vec();
            inner.push((variable.to_owned(), i));
            expand(&lines[body..at - 1], &inner, out);
        }
    }
}

/// Variable and count of `//# for VARIABLE in COUNT`.
fn loop_head(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("//# for ")?.split_once(" in ")
}

/// A constant's value, 0 if there is none of that name.
pub fn value(constants: &Constants, name: &str) -> u32 {
    constants.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
}

fn known_value(known: &[(String, u32)], name: &str) -> Option<u32> {
    known.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
}

fn substituted(line: &str, known: &[(String, u32)]) -> String {
    let mut line = line.to_owned();
    for (name, value) in known.iter().rev() {
        line = line.replace(&format!("${{{name}}}"), &value.to_string());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_nest_and_values_are_put_in() {
        let part = "a\n//# for r in ROWS\n  x${r}\n  //# for c in 2\n    y${r}_${c}\n  //# end\n//# end\nb${ROWS}";
        let text = assemble(&[part], &["f16"], Precision::F16, &[("ROWS", 2)]);
        let (head, body) = text.split_once("a\n").unwrap();
        assert_eq!(head, "enable f16;\nalias E = f16;\nalias E4 = vec4<f16>;\nconst ROWS: u32 = 2u;\n");
        let words: Vec<_> = body.split_whitespace().collect();
        assert_eq!(words, ["x0", "y0_0", "y0_1", "x1", "y1_0", "y1_1", "b2"]);
    }
}
