//! `vit-gpu info`: family, configuration, layers and parameters of a model.

use std::collections::BTreeSet;
use std::io::{self, Write};

use vit_gpu::checkpoint::Checkpoint;
use vit_gpu::graph::{Graph, Kind, Precision};
use vit_gpu::model::{Input, Request, Taps, build, weight_specs};

use super::options::ModelOptions;
use super::{Ended, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Folder, .safetensors file or random:ARCH@SEED [default: the bundled CIFAR-10 model]
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    named: Option<String>,
    #[command(flatten)]
    options: ModelOptions,
}

pub fn run(args: &Args) -> Ended {
    let options = &args.options;
    let checkpoint = match &args.named {
        Some(model) => Checkpoint::open_at(model, options.image_size)?,
        None => options.open()?,
    };
    let request = Request {
        batch: checkpoint.config.weight_batch(),
        input: Input::Planes,
        last_hidden_state: true,
        taps: Taps::None,
        precision: Precision::F32,
    };
    let graph = build(&checkpoint.config, request, u64::MAX)?;
    let mut out = io::stdout().lock();
    summary(&mut out, &checkpoint, &graph)?;
    layers(&mut out, &graph)?;
    totals(&mut out, &checkpoint, &graph)?;
    Ok(Outcome::Done)
}

fn summary(out: &mut impl Write, checkpoint: &Checkpoint, graph: &Graph) -> io::Result<()> {
    let cfg = &checkpoint.config;
    let (ih, iw) = cfg.img_size;
    let (ph, pw) = cfg.patch_size;
    let (gh, gw) = cfg.grid();
    writeln!(out, "{} ({} layout, {})", checkpoint.name, checkpoint.family, checkpoint.dtypes.join(" and "))?;
    writeln!(out, "  image {ih}x{iw}, patches of {ph}x{pw}: {gh}x{gw} and {} prefix tokens", cfg.prefix_tokens())?;
    writeln!(
        out,
        "  width {}, depth {}, {} heads of {}, MLP {}, {:?}, norm eps {:e}",
        cfg.embed_dim, cfg.depth, cfg.num_heads, cfg.head_dim, cfg.mlp_hidden, cfg.act, cfg.norm_eps
    )?;
    let features = cfg.features();
    if !features.is_empty() {
        writeln!(out, "  {}", features.join(", "))?;
    }
    if cfg.num_classes > 0 {
        writeln!(out, "  {} classes", cfg.num_classes)?;
    }
    let t = &checkpoint.transform;
    writeln!(out, "  preprocessing {:?} {:?}, crop {:?}", t.resize, t.filter, t.crop.map(|crop| crop.size))?;
    writeln!(out, "  mean {:?}, std {:?}", t.mean, t.std)?;
    if !checkpoint.ignored.is_empty() {
        writeln!(out, "  ignored tensors: {}", checkpoint.ignored.join(", "))?;
    }
    writeln!(out, "  {:.2} GFLOP an image", graph.cost().flop / 1e9)
}

fn layers(out: &mut impl Write, graph: &Graph) -> io::Result<()> {
    writeln!(out, "\n{:<28} {:<20} {:>12}", "layer", "output", "parameters")?;
    let mut counted = BTreeSet::new();
    for node in &graph.nodes {
        let parameters: usize = node
            .inputs
            .iter()
            .flatten()
            .filter(|id| counted.insert(id.index()))
            .map(|id| graph.tensor(*id))
            .filter(|tensor| matches!(tensor.kind, Kind::Weight(_)))
            .map(|tensor| tensor.len())
            .sum();
        let shape = format!("{:?}", graph.tensor(node.output).shape);
        writeln!(out, "{:<28} {shape:<20} {:>12}", node.label, grouped(parameters))?;
    }
    Ok(())
}

fn totals(out: &mut impl Write, checkpoint: &Checkpoint, graph: &Graph) -> io::Result<()> {
    let specs = weight_specs(&checkpoint.config).map_err(io::Error::other)?;
    let parameters: usize = specs.iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
    let plan = vit_gpu::graph::Plan::new(graph, u64::MAX).map_err(io::Error::other)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(out, "\n{} parameters, {:.1} MiB in f32", grouped(parameters), mib(4 * parameters as u64))?;
    writeln!(out, "{:.1} MiB of activations an image", mib(plan.peak_bytes()))
}

/// 86567656 as 86,567,656.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_grouped_by_three() {
        let all = [0, 999, 1000, 86_567_656].map(super::grouped);
        assert_eq!(all, ["0", "999", "1,000", "86,567,656"]);
    }
}
