//! `vit-gpu doctor`: one report on program, machine, adapters and a self-check, to be pasted into a bug report.
//!
//! Everything that meets a driver happens in processes of their own, so that a crash or a hang there is a line in the report.

mod check;
mod child;
mod drivers;
mod machine;
mod section;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use vit_gpu::Device;

use self::check::{Answer, Ran};
use self::drivers::{System, advice};
use self::section::{Section, tilde};
use super::options::Format;
use super::{Ended, Outcome, devices};

/// Report on program, machine, GPUs and drivers, and run a self-check: paste it into a bug report
///
/// The report states how vit-gpu was built; the operating system, processor and memory; every adapter with its driver,
/// limits and kernels; which one `auto` takes and why; the reason and what to install where no GPU was found; the cache
/// folder; and the environment variables that are set and change any of this. Home folders are written as `~`.
///
/// The self-check then runs the bundled model on a picture that the program draws, on the processor and on every GPU (on
/// software adapters only where there is no GPU), and compares each result with the processor's. A device that fails,
/// crashes or does not answer is a line in the report and stops nothing else.
///
/// The exit code is 0 if the self-check holds on every device that was tried, else 1.
#[derive(clap::Args)]
pub struct Args {
    /// text or JSON
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    /// Print the part of the report on one device, as JSON for the process that asks
    #[arg(long, hide = true, value_name = "DEVICE")]
    check: Option<Device>,
    /// Print an adapter's kernels, likewise
    #[arg(long, hide = true, value_name = "DEVICE")]
    kernels: Option<Device>,
}

/// A first start on a slow device compiles for long.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(args: &Args) -> Ended {
    let printed = match (&args.check, &args.kernels) {
        (Some(device), _) => Some(check::run(device)),
        (None, Some(device)) => Some(json!({"kernels": check::kernels(device)})),
        (None, None) => None,
    };
    if let Some(printed) = printed {
        writeln!(io::stdout().lock(), "{printed}")?;
        return Ok(Outcome::Done);
    }
    let mut report = Report { format: args.format, json: Map::new() };
    report.begin()?;
    report.add(&machine::program())?;
    report.add(&machine::machine())?;
    report.add(&machine::environment())?;
    report.add(&machine::cache())?;
    let listed = child::ask(&["devices", "-f", "json"], PATIENCE);
    let checks = devices_to_check(listed.as_ref().ok());
    let checked: Vec<(String, Result<Value, String>)> = checks
        .iter()
        .map(|(device, name)| (name.clone(), child::ask(&["doctor", "--check", device], PATIENCE)))
        .collect();
    report.add(&adapters(&listed, &checks, &checked))?;
    let (ok, section) = self_check(&checked);
    report.add(&section)?;
    // What adapters there are is unknown if they can't be listed, and so is whether they work.
    let ok = ok && listed.is_ok();
    report.end(ok)?;
    Ok(if ok { Outcome::Done } else { Outcome::InputFailed })
}

struct Report {
    format: Format,
    json: Map<String, Value>,
}

impl Report {
    fn begin(&self) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(io::stdout().lock(), "vit-gpu doctor"),
            Format::Json => Ok(()),
        }
    }

    /// Text is printed at once, so that a report that is cut short says how far it came.
    fn add(&mut self, section: &Section) -> io::Result<()> {
        match self.format {
            Format::Text => section.text(&mut io::stdout().lock())?,
            Format::Json => self.json.extend([section.json()]),
        }
        Ok(())
    }

    fn end(&self, ok: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Text if ok => writeln!(out, "\nThe self-check holds."),
            Format::Text => writeln!(out, "\nThe self-check FAILED."),
            Format::Json => {
                let mut all = self.json.clone();
                all.insert("ok".to_owned(), ok.into());
                writeln!(out, "{:#}", Value::Object(all))
            }
        }
    }
}

/// Each device to check, as `--device` takes it, and its name: the processor and the GPUs, or else software adapters.
fn devices_to_check(listed: Option<&Value>) -> Vec<(String, String)> {
    let all = listed.and_then(|listed| listed["adapters"].as_array()).cloned().unwrap_or_default();
    let real = all.iter().any(|adapter| adapter["type"] != "software");
    let wanted = all.iter().filter(|adapter| (adapter["type"] != "software") == real);
    let named = wanted.map(|adapter| (adapter["index"].to_string(), label(adapter)));
    std::iter::once(("cpu".to_owned(), "cpu".to_owned())).chain(named).collect()
}

/// An adapter's index and name, since several may have the same.
fn label(adapter: &Value) -> String {
    format!("{} {}", adapter["index"], adapter["name"].as_str().unwrap_or_default())
}

fn adapters(
    listed: &Result<Value, String>,
    checks: &[(String, String)],
    checked: &[(String, Result<Value, String>)],
) -> Section {
    let mut section = Section::new("Adapters");
    let all = match listed {
        Ok(listed) => listed["adapters"].as_array().cloned().unwrap_or_default(),
        Err(error) => {
            section.fact("list", format!("FAILED: {error}"));
            Vec::new()
        }
    };
    for adapter in &all {
        let index = adapter["index"].to_string();
        let known = checks.iter().position(|(device, _)| *device == index).map(|at| checked[at].1.clone());
        // Adapters that are not checked are opened all the same.
        let printed = known.unwrap_or_else(|| child::ask(&["doctor", "--kernels", &index], PATIENCE));
        let mut lines = devices::describe(adapter);
        let mut value = adapter.clone();
        match printed {
            Ok(printed) => {
                for (precision, kernels) in printed["kernels"].as_object().into_iter().flatten() {
                    let kernels = kernels.as_array().into_iter().flatten().filter_map(Value::as_str);
                    lines.extend(kernels.map(|line| format!("{precision} {line}")));
                }
                value["kernels"] = printed["kernels"].clone();
            }
            Err(error) => lines.push(format!("kernels: FAILED: {error}")),
        }
        section.object(label(adapter), value, lines);
    }
    if let Ok(listed) = listed {
        let reason = listed["reason"].as_str().unwrap_or_default();
        let chosen = listed["auto"].as_u64().map_or("cpu".to_owned(), |index| index.to_string());
        section.fact("auto takes", format!("{chosen}: {reason}"));
    }
    if !all.iter().any(|adapter| adapter["type"] != "software") {
        missing(&mut section);
    }
    section
}

/// Why there is no GPU.
fn missing(section: &mut Section) {
    if std::env::consts::OS == "linux" {
        let variable = |name: &str| std::env::var(name).ok();
        let found = System { root: Path::new("/"), variable: &variable }.look();
        let (reason, install) = found.reason();
        section.fact("no GPU because", reason);
        section.list("found", found.lines());
        if !install {
            return;
        }
    } else if let Ok(backend) = std::env::var("WGPU_BACKEND") {
        section.fact("note", format!("WGPU_BACKEND={backend} hides what other backends would find"));
    }
    let distribution = ["ID", "ID_LIKE"].map(|key| machine::os_release(key).unwrap_or_default()).join(" ");
    section.list("to install", advice(std::env::consts::OS, &distribution));
}

fn self_check(checked: &[(String, Result<Value, String>)]) -> (bool, Section) {
    let mut section = Section::new("Self-check");
    let runs = |(name, printed): &(String, Result<Value, String>)| match printed {
        Ok(printed) => (name.clone(), check::read(name, printed)),
        Err(_) => (name.clone(), Vec::new()),
    };
    let devices: Vec<(String, Vec<Ran>)> = checked.iter().map(runs).collect();
    // The processor comes first, and its f32 before its i8.
    let reference: Option<&Answer> = devices.first().and_then(|(_, runs)| runs.first()?.result.as_ref().ok());
    let mut all_ok = true;
    for ((name, runs), (_, printed)) in devices.iter().zip(checked) {
        let (mut lines, mut values) = (Vec::new(), Vec::new());
        if let Err(error) = printed {
            lines.push(format!("FAILED: {error}"));
        }
        for ran in runs {
            let precision = ran.precision.name();
            let (ok, line) = ran.verdict(reference);
            all_ok &= ok;
            values.push(json!({"precision": precision, "ok": ok, "result": line}));
            lines.push(format!("{precision}: {line}"));
            if let Ok(answer) = &ran.result {
                lines.extend(answer.kernels.iter().map(|kernel| format!("  {kernel}")));
            }
        }
        all_ok &= !runs.is_empty();
        let error = printed.as_ref().err().map(|error| tilde(error));
        section.object(name, json!({"runs": values, "error": error}), lines);
    }
    (all_ok, section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(kinds: &[&str]) -> Value {
        let adapter = |(i, kind): (usize, &&str)| json!({"index": i, "name": "A", "type": kind});
        json!({"adapters": kinds.iter().enumerate().map(adapter).collect::<Vec<_>>()})
    }

    #[test]
    fn software_adapters_are_checked_only_where_there_is_no_gpu() {
        let checked = |kinds: &[&str]| -> Vec<String> {
            devices_to_check(Some(&listed(kinds))).into_iter().map(|(device, _)| device).collect()
        };
        assert_eq!(checked(&["discrete", "software", "integrated"]), ["cpu", "0", "2"]);
        assert_eq!(checked(&["software"]), ["cpu", "0"]);
        assert_eq!(checked(&[]), ["cpu"]);
        assert_eq!(devices_to_check(None).len(), 1);
    }

    #[test]
    fn a_device_that_crashes_is_a_line_and_the_others_are_reported() {
        let cpu = check::run(&Device::Cpu);
        let crashed = Err("the process ended with signal: 11".to_owned());
        let (ok, section) = self_check(&[("cpu".into(), Ok(cpu.clone())), ("0 A".into(), crashed)]);
        let mut text = Vec::new();
        section.text(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!ok && text.contains("  0 A: FAILED: the process ended with signal: 11"), "{text}");
        assert!(text.contains("f32: ") && text.contains("i8: "), "{text}");
        assert!(self_check(&[("cpu".into(), Ok(cpu))]).0);
        // Without the processor's result nothing can be compared.
        assert!(!self_check(&[("cpu".into(), Err("a crash".into()))]).0);
    }

    #[test]
    fn a_list_that_failed_and_an_adapter_that_cannot_be_opened_are_lines() {
        let facts = |section: &Section| section.json().1;
        let failed = facts(&adapters(&Err("a crash".into()), &[], &[]));
        assert_eq!(failed["list"], "FAILED: a crash");
        let checks = [("cpu".to_owned(), "cpu".to_owned()), ("0".to_owned(), "0 A".to_owned())];
        let checked = [("cpu".to_owned(), Ok(json!({}))), ("0 A".to_owned(), Err("a hang".to_owned()))];
        let section = adapters(&Ok(listed(&["discrete"])), &checks, &checked);
        let mut text = Vec::new();
        section.text(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("    kernels: FAILED: a hang"), "{text}");
    }
}
