//! Sizes of files, as people write them.

/// `331.2 MB`: of 10⁶ bytes, as the hub shows them.
pub fn in_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1e3, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_fitting_unit() {
        let sizes = [0, 999, 1000, 331_200_000, 1_710_540_580].map(in_bytes);
        assert_eq!(sizes, ["0 bytes", "999 bytes", "1.0 kB", "331.2 MB", "1.7 GB"]);
    }
}
