//! `vit-gpu devices`: what there is to run on, and what `auto` would take.

use std::io::{self, Write};

use serde_json::json;
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
                text(&mut out, i, adapter)?;
            }
            match chosen {
                Some(i) => writeln!(out, "auto takes {i}, {}: {reason}", adapters[i].name)?,
                None => writeln!(out, "auto takes cpu: {reason}")?,
            }
        }
    }
    Ok(Outcome::Done)
}

fn text(out: &mut impl Write, index: usize, adapter: &Adapter) -> io::Result<()> {
    let yes = |there: bool| if there { "yes" } else { "no" };
    let subgroups = match adapter.subgroups {
        Some((least, most)) if least == most => least.to_string(),
        Some((least, most)) => format!("{least} to {most}"),
        None => "no".to_owned(),
    };
    let matrices = if adapter.cooperative_matrix.is_empty() {
        "no".to_owned()
    } else {
        adapter.cooperative_matrix.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let mib = |bytes: u64| bytes >> 20;
    writeln!(out, "{index}  {}", adapter.name)?;
    writeln!(out, "   {} ({}), {}", adapter.kind, adapter.backend, adapter.driver)?;
    writeln!(
        out,
        "   f16 {}, subgroups {subgroups}, cooperative matrix {matrices}, timestamps {}",
        yes(adapter.f16),
        yes(adapter.timestamps)
    )?;
    writeln!(
        out,
        "   binding {} MiB, buffer {} MiB, workgroup {} invocations, {} KiB",
        mib(adapter.max_binding),
        mib(adapter.max_buffer),
        adapter.workgroup_invocations,
        adapter.workgroup_memory >> 10
    )
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
