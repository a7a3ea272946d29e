//! The self-check: the bundled model names what is in a picture, on the processor and on adapters.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::device::Kernels;
use vit_gpu::internals::gpu::GpuExecutor;
use vit_gpu::internals::model::WeightLoader;
use vit_gpu::internals::ops::{Attention, Linear, Op};
use vit_gpu::{Device, Error, Image, Output, Outputs, Precision, Session};

use crate::cli::distance::Comparison;

/// What a device did with the picture in one precision.
pub struct Ran {
    pub device: String,
    pub precision: Precision,
    pub result: Result<Answer, String>,
}

pub struct Answer {
    pub label: String,
    pub score: f64,
    pub seconds: f64,
    pub outputs: Outputs,
    /// Kernels that were chosen by trial, and those that failed it, a line each.
    pub kernels: Vec<String>,
}

/// The picture: a sun in a sky over hills, with all byte values and both smooth and sharp parts.
fn picture() -> Result<Image, Error> {
    let (width, height) = (96, 80);
    let pixel = |x: usize, y: usize| -> [u8; 3] {
        let (dx, dy) = (x.abs_diff(66), y.abs_diff(22));
        let hill = 48 + (x * 13 % 31) / 4 + x.abs_diff(30) / 3;
        match () {
            () if dx * dx + dy * dy < 150 => [255, 240, (x * 3 % 64) as u8],
            () if y > hill => [(y * 2 % 90) as u8, (80 + (x ^ y) % 120) as u8, 30],
            () => [(60 + y * 2) as u8, (110 + y) as u8, 255 - (y / 2) as u8],
        }
    };
    Image::from_rgb(width, height, (0..width * height).flat_map(|i| pixel(i % width, i / width)).collect())
}

/// Precisions that a device has.
fn precisions(device: &Device) -> Vec<Precision> {
    if *device == Device::Cpu {
        return vec![Precision::F32, Precision::I8];
    }
    // A device that can't be opened says so in f32.
    let f16 = open(device, Precision::F32).is_ok_and(|gpu| gpu.is_some_and(|gpu| gpu.report().f16));
    if f16 { vec![Precision::F32, Precision::F16] } else { vec![Precision::F32] }
}

/// Runs the picture in every precision the device has; what this gives is printed, and read by [`read`] in another process.
pub fn run(device: &Device) -> Value {
    let runs = precisions(device).into_iter().map(|precision| {
        let ran = answer(device, precision).unwrap_or_else(|error| json!({"error": error.to_string()}));
        json!({"precision": precision.name(), "answer": ran})
    });
    json!({"runs": runs.collect::<Vec<_>>(), "kernels": kernels(device)})
}

fn answer(device: &Device, precision: Precision) -> Result<Value, Error> {
    let options = Session::builder().device(device.clone()).precision(precision);
    let start = Instant::now();
    let session = options.build(Checkpoint::bundled()?)?;
    let pixels = session.preprocess(&picture()?)?;
    // The way of an image, and that of a tensor: the first reads bytes.
    let mut named = session.classify_pixels(std::slice::from_ref(&pixels), usize::MAX)?.remove(0)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut outputs = session.forward(&pixels.planes(&session.checkpoint().transform.table()), false)?;
    let best = named.first().cloned().ok_or_else(|| Error::NoHead { model: session.model().name().to_owned() })?;
    named.sort_by_key(|prediction| prediction.index);
    let values: Vec<f32> = named.iter().map(|prediction| prediction.score).collect();
    outputs.0.push(Output { name: "scores".into(), shape: vec![1, values.len()], values });
    let outputs: Vec<_> =
        outputs.0.iter().map(|o| json!({"name": o.name, "shape": o.shape, "values": o.values})).collect();
    let tuning = session.tuning();
    let chosen = tuning.choices.iter().map(|choice| format!("{}: {}", choice.class, choice.kernel));
    let dropped = tuning.dropped.iter().map(|(kernel, reason)| format!("NOT USED: {kernel}: {reason}"));
    let label = best.label.unwrap_or_else(|| format!("class {}", best.index));
    let kernels: Vec<_> = chosen.chain(dropped).collect();
    Ok(json!({"label": label, "score": best.score, "seconds": seconds, "outputs": outputs, "kernels": kernels}))
}

/// What a device's process printed.
pub fn read(device: &str, printed: &Value) -> Vec<Ran> {
    let runs = printed["runs"].as_array().into_iter().flatten();
    let runs = runs.filter_map(|run| {
        let precision = run["precision"].as_str()?.parse().ok()?;
        Some(Ran { device: device.to_owned(), precision, result: read_answer(&run["answer"]) })
    });
    runs.collect()
}

fn read_answer(answer: &Value) -> Result<Answer, String> {
    if let Some(error) = answer["error"].as_str() {
        return Err(error.to_owned());
    }
    let output = |output: &Value| -> Option<Output> {
        let list = |key: &str| output[key].as_array().cloned();
        let shape =
            list("shape")?.iter().map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok())).collect::<Option<_>>()?;
        // What JSON has no number for is null there.
        let values = list("values")?.iter().map(|v| v.as_f64().map_or(f32::NAN, |v| v as f32)).collect();
        Some(Output { name: output["name"].as_str()?.to_owned(), shape, values })
    };
    let read = || {
        Some(Answer {
            label: answer["label"].as_str()?.to_owned(),
            score: answer["score"].as_f64()?,
            seconds: answer["seconds"].as_f64()?,
            outputs: Outputs(answer["outputs"].as_array()?.iter().map(output).collect::<Option<_>>()?),
            kernels: answer["kernels"].as_array()?.iter().filter_map(|line| Some(line.as_str()?.to_owned())).collect(),
        })
    };
    read().ok_or_else(|| "its answer could not be read".to_owned())
}

impl Ran {
    /// One line on how it went beside the processor's f32, and whether it holds.
    pub fn verdict(&self, reference: Option<&Answer>) -> (bool, String) {
        let answer = match (&self.result, reference) {
            (Err(error), _) => return (false, format!("FAILED: {error}")),
            (Ok(_), None) => return (false, "FAILED: there is nothing of the processor's to compare with".to_owned()),
            (Ok(answer), Some(_)) => answer,
        };
        let mut comparison = Comparison::default();
        reference.into_iter().for_each(|reference| comparison.add(&answer.outputs, &reference.outputs));
        let ok = comparison.ok(self.precision);
        let largest = comparison.outputs.iter().map(|distance| distance.largest);
        let largest = largest.fold(0.0, |a: f64, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) });
        let Answer { label, score, seconds, .. } = answer;
        let mut line = format!("{label} {:.1} %, {seconds:.2} s with the start", 100.0 * score);
        if !(self.device == "cpu" && self.precision == Precision::F32) {
            line += &format!(", off from the processor by at most {largest:.1e}");
        }
        if let Some(name) = comparison.first_breach(self.precision) {
            let fault = comparison.outputs.iter().find(|distance| distance.name == name);
            let fault = fault.and_then(|distance| distance.fault.as_deref()).unwrap_or("too far off");
            line = format!("FAILED: {line}; first wrong: {name}, {fault}");
        }
        (ok, line)
    }
}

struct NoWeights;

impl WeightLoader for NoWeights {
    fn load(&self, name: &str, _: usize, _: &mut [f32]) -> Result<(), Error> {
        Err(Error::Shape { what: name.to_owned(), reason: "no weights are loaded here".into() })
    }
}

/// The kernels that an adapter would run a ViT-B's layers by, the first guess first: by precision, a line for each operation.
pub fn kernels(device: &Device) -> Map<String, Value> {
    if *device == Device::Cpu {
        return Map::new();
    }
    let linear = Linear { bias: true, ..Linear::new(197, 768, 3072) };
    let ops = [Op::Linear(linear), Op::Attention(Attention::packed(1, 197, 12, 64, 0.125))];
    let lines = |precision| -> Result<Vec<String>, Error> {
        let gpu = open(device, precision)?;
        let of = |op: &Op| gpu.as_ref().map(|gpu| gpu.candidates(op)).unwrap_or_default();
        Ok(ops.iter().map(|op| format!("{}: {}", op.name(), of(op).join(", "))).collect())
    };
    let all = precisions(device).into_iter();
    let named = all.map(|precision| {
        let lines = lines(precision).unwrap_or_else(|error| vec![error.to_string()]);
        (precision.name().to_owned(), lines.into())
    });
    named.collect()
}

fn open(device: &Device, precision: Precision) -> Result<Option<GpuExecutor>, Error> {
    pollster::block_on(GpuExecutor::open(device, Kernels::Auto, precision, Arc::new(NoWeights)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(precision: Precision, values: &[f32]) -> Ran {
        let outputs = Outputs(vec![Output { name: "logits".into(), shape: vec![1, 2], values: values.to_vec() }]);
        let answer = Answer { label: "ship".into(), score: 0.5, seconds: 0.1, outputs, kernels: Vec::new() };
        Ran { device: "A".into(), precision, result: Ok(answer) }
    }

    #[test]
    fn what_is_printed_is_read_again_and_agrees_with_itself() {
        let printed = run(&Device::Cpu);
        let printed = serde_json::from_str(&printed.to_string()).unwrap();
        let runs = read("cpu", &printed);
        assert_eq!(runs.len(), 2);
        let reference = runs[0].result.as_ref().unwrap();
        let names: Vec<_> = reference.outputs.0.iter().map(|output| output.name.as_str()).collect();
        assert!(names.contains(&"logits") && names.contains(&"scores"), "{names:?}");
        for run in &runs {
            let (ok, line) = run.verdict(Some(reference));
            assert!(ok, "{line}");
        }
    }

    #[test]
    fn a_wrong_or_failed_or_missing_result_does_not_hold() {
        let right = ran(Precision::F32, &[1.0, 2.0]);
        let reference = right.result.as_ref().ok();
        assert!(right.verdict(reference).0);
        let off = ran(Precision::F32, &[1.0, 2.1]).verdict(reference);
        assert!(!off.0 && off.1.starts_with("FAILED: ship 50.0 %") && off.1.contains("at most 1.0e-1"), "{}", off.1);
        let short = ran(Precision::F32, &[1.0]).verdict(reference);
        assert!(!short.0 && short.1.ends_with("first wrong: logits, it has 1 values instead of 2"), "{}", short.1);
        assert!(!ran(Precision::F32, &[1.0, f32::NAN]).verdict(reference).0);
        assert!(!right.verdict(None).0);
        let error = Ran { result: Err("the device was lost".into()), ..ran(Precision::F16, &[]) };
        assert_eq!(error.verdict(reference), (false, "FAILED: the device was lost".to_owned()));
    }
}
