//! `vit-gpu info`: family, configuration, layers and parameters of a model.

use std::collections::HashSet;
use std::io::{self, Write};

use vit_gpu::Precision;
use vit_gpu::internals::checkpoint::{Checkpoint, Merged};
use vit_gpu::internals::graph::{Graph, Kind, Node, Plan, Tensor, WeightRef};
use vit_gpu::internals::model::{Input, Maps, Request, Taps, build, weight_specs};
use vit_gpu::internals::ops::Op;

use super::options::ModelOptions;
use super::{Ended, Outcome, named};

#[derive(clap::Args)]
pub struct Args {
    /// A model: what --model takes
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    named: Option<String>,
    #[command(flatten)]
    options: ModelOptions,
}

pub fn run(args: &Args) -> Ended {
    let options = &args.options;
    let checkpoint = match &args.named {
        Some(model) => named::opened(model, |path| Checkpoint::open_at(path, options.image_size))?,
        None => options.open()?,
    };
    let request = Request {
        batch: checkpoint.config.weight_batch(),
        input: Input::Planes,
        last_hidden_state: true,
        taps: Taps::None,
        maps: Maps::None,
        precision: Precision::F32,
    };
    let plan = Plan::new(build(&checkpoint.config, request, u64::MAX)?, u64::MAX)?;
    let mut out = io::stdout().lock();
    summary(&mut out, &checkpoint, plan.graph())?;
    layers(&mut out, plan.graph())?;
    totals(&mut out, &checkpoint, &plan)?;
    Ok(Outcome::Done)
}

fn summary(out: &mut impl Write, checkpoint: &Checkpoint, graph: &Graph) -> io::Result<()> {
    let cfg = &checkpoint.config;
    let (ih, iw) = cfg.img_size;
    let (ph, pw) = cfg.patch_size;
    let (gh, gw) = cfg.grid();
    writeln!(out, "{} ({} layout, {})", checkpoint.name, checkpoint.family, checkpoint.dtypes.join(" and "))?;
    if let Some(merged) = &checkpoint.merged {
        writeln!(out, "  {}", adapter(merged))?;
    }
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
    if let Ok(text) = &checkpoint.text {
        let t = &text.config;
        write!(out, "  texts of {} tokens, of {} that there are: ", t.context, t.vocab_size)?;
        writeln!(out, "width {}, depth {}, {} heads, MLP {}", t.embed_dim, t.depth, t.num_heads, t.mlp_hidden)?;
    }
    if !checkpoint.ignored.is_empty() {
        writeln!(out, "  ignored tensors: {}", checkpoint.ignored.join(", "))?;
    }
    writeln!(out, "  {:.2} GFLOP an image", graph.cost().flop / 1e9)
}

/// What was merged, in a line.
fn adapter(merged: &Merged) -> String {
    let rank = match merged.ranks {
        (least, most) if least == most => format!("{least}"),
        (least, most) => format!("{least} to {most}"),
    };
    let (kind, layers, base) = (if merged.dora { "DoRA" } else { "LoRA" }, merged.layers, &merged.base);
    let low_rank = (layers > 0).then(|| format!("{kind} of rank {rank} in {layers} layers"));
    let whole = match merged.replaced.len() {
        0 => None,
        1..=6 => Some(format!("{} replaced", merged.replaced.join(", "))),
        many => Some(format!("{many} tensors replaced")),
    };
    let parts: Vec<String> = low_rank.into_iter().chain(whole).collect();
    format!("adapter merged into {base}: {}", parts.join(", "))
}

/// A table like torchsummary's: a row for each layer, and for each parameter that is not a layer's weight or bias.
fn layers(out: &mut impl Write, graph: &Graph) -> io::Result<()> {
    writeln!(out, "\n{:<40} {:<20} {:>12}", "Layer (type)", "Output Shape", "Param #")?;
    let mut counted = HashSet::new();
    let mut row = |name: String, shape: &[usize], parameters: usize| {
        // As in torchsummary, the batch axis is shown as -1.
        let dims: Vec<String> = shape.iter().skip(1).map(ToString::to_string).collect();
        let shape = format!("[{}]", std::iter::once("-1".to_owned()).chain(dims).collect::<Vec<_>>().join(", "));
        writeln!(out, "{name:<40} {shape:<20} {:>12}", grouped(parameters))
    };
    for node in graph.nodes() {
        let new = |at: &WeightRef| counted.insert(at.clone());
        let weights = weights_of(graph, node, new);
        let (own, loose): (Vec<_>, Vec<_>) = weights.into_iter().partition(|tensor| of_a_layer(&tensor.name));
        let output = &graph.tensor(node.output).shape;
        // An MLP's tensors have no batch axis in the graph: their rows are the tokens of all images.
        let shape = if output.len() == 2 && node.label.contains(".mlp.") {
            [&[1], &output[..]].concat()
        } else {
            output.clone()
        };
        let parameters = own.iter().map(|tensor| tensor.len()).sum();
        row(format!("{} ({})", node.label, kind(&node.op)), &shape, parameters)?;
        for tensor in loose {
            row(format!("{} (Parameter)", tensor.name), &[&[1], &tensor.shape[..]].concat(), tensor.len())?;
        }
    }
    Ok(())
}

/// The weights that a node reads, without those that an earlier node has read (`new` says so).
fn weights_of<'a>(graph: &'a Graph, node: &Node, mut new: impl FnMut(&WeightRef) -> bool) -> Vec<&'a Tensor> {
    let read = node.inputs.iter().flatten().map(|id| graph.tensor(*id));
    read.filter(|tensor| matches!(&tensor.kind, Kind::Weight(at) if new(at))).collect()
}

/// Whether a weight is a layer's `weight` or `bias`: what torchsummary counts.
fn of_a_layer(name: &str) -> bool {
    // Rows of a weight are called `name[first..last]`.
    let name = name.split('[').next().unwrap_or(name);
    name.ends_with(".weight") || name.ends_with(".bias")
}

/// What PyTorch calls an operation.
fn kind(op: &Op) -> &'static str {
    match op {
        Op::Unfold(_) => "Unfold",
        Op::Linear(_) => "Linear",
        Op::Tokens(_) => "Concat",
        Op::LayerNorm(norm) if norm.rms => "RMSNorm",
        Op::LayerNorm(_) => "LayerNorm",
        Op::Attention(_) => "Attention",
        Op::AttentionMap(_) => "Attention map",
        Op::Pool(_) => "Pool",
        Op::Glu(_) => "GLU",
        Op::Add(_) => "Add",
    }
}

fn totals(out: &mut impl Write, checkpoint: &Checkpoint, plan: &Plan) -> io::Result<()> {
    let specs = weight_specs(&checkpoint.config).map_err(io::Error::other)?;
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    let parameters: usize = specs.iter().map(|spec| len(&spec.shape)).sum();
    let loose: usize = specs.iter().filter(|spec| !of_a_layer(&spec.name)).map(|spec| len(&spec.shape)).sum();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(out, "\n{} parameters, {:.1} MiB in f32", grouped(parameters), mib(4 * parameters as u64))?;
    if loose > 0 {
        let of = |name: &str| specs.iter().find(|spec| spec.name == name).map_or(0, |spec| len(&spec.shape));
        let (prefix, pos) = (of("prefix_tokens"), of("pos_embed"));
        let counted = grouped(parameters - loose);
        writeln!(
            out,
            "{counted} in layers (what torchsummary counts), {} in prefix tokens, {} in positions, {} in other parameters",
            grouped(prefix),
            grouped(pos),
            grouped(loose - prefix - pos)
        )?;
    }
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
