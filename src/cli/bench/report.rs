//! What was measured, as text and as JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::measure::{Measured, Warm};
use super::per_op;

pub fn text(out: &mut impl Write, devices: &[Measured]) -> io::Result<()> {
    for device in devices {
        let Measured { name, precision, open, first, peak, .. } = device;
        writeln!(out, "{name}, {precision}")?;
        writeln!(out, "  opened in {:.0} ms, first result {:.0} ms later", 1e3 * open, 1e3 * first)?;
        if let Some(startup) = device.startup {
            let [weights, tuning, pipelines] = [startup.weights, startup.tuning, startup.pipelines].map(|s| 1e3 * s);
            writeln!(out, "  (weights {weights:.0} ms, choosing kernels {tuning:.0} ms, compiling {pipelines:.0} ms)")?;
        }
        let matrix = peak.matrix.map_or(String::new(), |m| format!(", {:.0} on matrix cores", 1e-9 * m));
        let (fma, copy) = (1e-9 * peak.fma, 1e-9 * peak.copy);
        writeln!(out, "  measured limits: {fma:.0} GFLOP/s{matrix}; a copy moves {copy:.0} GB/s")?;
        if let Some(rate) = device.from_files {
            writeln!(out, "  from files: {rate:.2} images/s")?;
        }
        writeln!(
            out,
            "  {:>6} {:>11} {:>11} {:>11} {:>10} {:>9} {:>9}",
            "batch", "median ms", "p10 ms", "p90 ms", "images/s", "GFLOP/s", "of limit"
        )?;
        for warm in &device.warm {
            let [median, p10, p90] = [0.5, 0.1, 0.9].map(|share| 1e3 * warm.quantile(share));
            let (images, flop) = (warm.images_per_second(), warm.flop_per_second());
            let share = device.share(warm).map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
            let (batch, gflop) = (warm.batch, 1e-9 * flop);
            writeln!(
                out,
                "  {batch:>6} {median:>11.2} {p10:>11.2} {p90:>11.2} {images:>10.2} {gflop:>9.1} {share:>9}"
            )?;
        }
        for warm in &device.warm {
            if let Some(kinds) = &warm.per_op {
                writeln!(out, "  batch {}, each operation by itself:", warm.batch)?;
                per_op::print(out, kinds, &device.peak)?;
            }
        }
    }
    Ok(())
}

pub fn json(model: &str, devices: &[Measured], agreed: bool) -> Value {
    let results: Vec<_> =
        devices.iter().flat_map(|device| device.warm.iter().map(move |warm| result(device, warm))).collect();
    json!({
        "model": model,
        "device": devices.first().map(|device| &device.name),
        "agreed": agreed,
        "devices": devices.iter().map(summary).collect::<Vec<_>>(),
        "results": results,
    })
}

fn summary(device: &Measured) -> Value {
    json!({
        "device": device.name,
        "precision": device.precision,
        "open_ms": 1e3 * device.open,
        "first_result_ms": 1e3 * device.first,
        "weights_ms": device.startup.map(|startup| 1e3 * startup.weights),
        "tuning_ms": device.startup.map(|startup| 1e3 * startup.tuning),
        "pipelines_ms": device.startup.map(|startup| 1e3 * startup.pipelines),
        "peak_gflop_per_s": 1e-9 * device.peak.fma,
        "peak_matrix_gflop_per_s": device.peak.matrix.map(|matrix| 1e-9 * matrix),
        "peak_gb_per_s": 1e-9 * device.peak.copy,
        "files_images_per_s": device.from_files,
    })
}

fn result(device: &Measured, warm: &Warm) -> Value {
    json!({
        "device": device.name,
        "precision": device.precision,
        "batch": warm.batch,
        "median_ms": 1e3 * warm.median(),
        "p10_ms": 1e3 * warm.quantile(0.1),
        "p90_ms": 1e3 * warm.quantile(0.9),
        "images_per_s": warm.images_per_second(),
        "gflop_per_s": 1e-9 * warm.flop_per_second(),
        "peak_share": device.share(warm),
        "per_op": warm.per_op.as_ref().map(|kinds| kinds.iter().map(|kind| kind.json(&device.peak)).collect::<Vec<_>>()),
    })
}
