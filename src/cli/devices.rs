//! `vit-gpu devices`: lists the adapters, and says which device `auto` takes.

use std::io::{self, Write};

use serde_json::{Value, json};
use vit_gpu::internals::gpu::automatic;
use vit_gpu::{Adapter, adapters};

use super::options::Format;
use super::{Ended, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// text or JSON
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &Args) -> Ended {
    let adapters = adapters();
    let (chosen, reason) = automatic(&adapters);
    let mut out = io::stdout().lock();
    match args.format {
        Format::Json => {
            let list: Vec<_> = adapters.iter().enumerate().map(|(i, adapter)| object(i, adapter)).collect();
            writeln!(out, "{:#}", json!({"adapters": list, "auto": chosen, "reason": reason}))?;
        }
        Format::Text => {
            for (i, adapter) in adapters.iter().enumerate() {
                writeln!(out, "{i}  {}", adapter.name)?;
                describe(&object(i, adapter)).iter().try_for_each(|line| writeln!(out, "   {line}"))?;
            }
            match chosen {
                Some(i) => writeln!(out, "auto takes {i}, {}: {reason}", adapters[i].name)?,
                None => writeln!(out, "auto takes cpu: {reason}")?,
            }
        }
    }
    Ok(Outcome::Done)
}

/// Lines on an adapter, from its JSON.
pub fn describe(adapter: &Value) -> Vec<String> {
    let text = |key: &str| adapter[key].as_str().unwrap_or_default();
    let number = |key: &str| adapter[key].as_u64().unwrap_or_default();
    let yes = |key: &str| if adapter[key] == true { "yes" } else { "no" };
    let subgroups = match &adapter["subgroups"] {
        Value::Array(sizes) if sizes.first() == sizes.last() => sizes.first().map(ToString::to_string),
        Value::Array(sizes) => Some(sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" to ")),
        _ => None,
    };
    let subgroups = subgroups.unwrap_or_else(|| "no".to_owned());
    let matrices: Vec<_> =
        adapter["cooperative_matrix"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let matrices = if matrices.is_empty() { "no".to_owned() } else { matrices.join(", ") };
    vec![
        format!("{} ({}), {}", text("type"), text("backend"), text("driver")),
        format!(
            "f16 {}, subgroups {subgroups}, cooperative matrix {matrices}, timestamps {}",
            yes("f16"),
            yes("timestamps")
        ),
        format!(
            "binding {} MiB, buffer {} MiB, workgroup {} invocations, {} KiB",
            number("max_binding_bytes") >> 20,
            number("max_buffer_bytes") >> 20,
            number("workgroup_invocations"),
            number("workgroup_memory_bytes") >> 10
        ),
    ]
}

fn object(index: usize, adapter: &Adapter) -> serde_json::Value {
    json!({
        "index": index,
        "name": adapter.name,
        "type": adapter.kind,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "f16": adapter.f16,
        "subgroups": adapter.subgroups.map(|(least, most)| [least, most]),
        "cooperative_matrix": adapter.cooperative_matrix.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "timestamps": adapter.timestamps,
        "max_binding_bytes": adapter.max_binding,
        "max_buffer_bytes": adapter.max_buffer,
        "workgroup_invocations": adapter.workgroup_invocations,
        "workgroup_memory_bytes": adapter.workgroup_memory,
    })
}
