//! `vit-gpu attention`: draws what a model looks at, or which parts of an image speak for a class.

mod canvas;
mod draw;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use vit_gpu::insight::{Fusion, Heatmap, Rollout, class_attention, relevance, rollout};
use vit_gpu::{Image, Session};

use super::inputs::{Input, named};
use super::options::{ImageOptions, RunOptions};
use super::outputs::npy_head;
use super::{Ended, Failure, Outcome};
use draw::{Panel, drawn};

/// Draw what a model looks at in an image
///
/// The picture shows the part of the image that the model is given, and beside it the same with a map over it: bright is much,
/// dark is little. A .npy file holds the map's values instead, one for each patch.
#[derive(clap::Args)]
pub struct Args {
    /// The image, or - for standard input
    #[arg(value_name = "IMAGE|-")]
    image: OsString,
    /// The file to write: a picture (.png), or the values of the map [rows, columns], with --grid of all maps [layers, heads, rows,
    /// columns] (.npy)
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// What is drawn
    #[arg(long, value_enum, default_value_t = Method::Rollout)]
    method: Method,
    /// With attention: the layer, counted from 0; in models that pool by attention, the pooling is the last [default: the last]
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// With attention: one head, counted from 0 [default: the mean of all heads]
    #[arg(long, value_name = "N", conflicts_with = "grid")]
    head: Option<usize>,
    /// With attention: the maps of all heads, a row for each layer, or of one --layer
    #[arg(long)]
    grid: bool,
    /// With rollout: how the heads of a layer become one map
    #[arg(long, value_enum, value_name = "mean|max|min")]
    fusion: Option<Fuse>,
    /// With rollout: the share of each layer's smallest values that is left out, from 0 to below 1
    #[arg(long, value_name = "SHARE")]
    discard: Option<f32>,
    /// With relevance: a class by its name or number [default: the class with the highest score]
    #[arg(long, value_name = "NAME|N")]
    class: Option<String>,
    #[command(flatten)]
    reading: ImageOptions,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// How much of each patch reaches the class token through all layers (Abnar and Zuidema 2020)
    Rollout,
    /// How much the class token attends to each patch in one layer
    Attention,
    /// How much each patch speaks for a class (ViT-ReciproCAM, arXiv:2310.02588)
    Relevance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fuse {
    Mean,
    Max,
    Min,
}

/// The maps to show, and what they are.
struct Maps {
    title: String,
    /// Panels, row by row, all rows of the same length.
    panels: Vec<Panel>,
    columns: usize,
    /// Sizes in front of rows and columns of patches in a `.npy` file.
    shape: Vec<usize>,
}

impl Maps {
    fn one(title: String, map: Heatmap) -> Maps {
        Maps { title, panels: vec![Panel { name: String::new(), map }], columns: 1, shape: Vec::new() }
    }
}

pub fn run(args: &Args) -> Ended {
    args.check()?;
    let picture = match args.output.extension().map(|ending| ending.to_ascii_lowercase()) {
        Some(ending) if ending == "png" => true,
        Some(ending) if ending == "npy" => false,
        _ => return Err(Failure::Usage(format!("{}: --output must end in .png or .npy", args.output.display()))),
    };
    let input = if args.image == "-" { Input::Stdin } else { Input::File(Path::new(&args.image).into()) };
    let image = args.reading.reading().decode(&input.bytes()?, &input.name())?;
    let session = args.run.session()?;
    let maps = args.maps(&session, &image).map_err(|failure| match failure {
        Failure::Engine(error) => Failure::Engine(named(error, &input)),
        other => other,
    })?;
    let bytes = if picture {
        drawn(session.model(), &image, &maps)?
    } else {
        let first = &maps.panels[0].map;
        let shape: Vec<usize> = maps.shape.iter().copied().chain([first.rows, first.cols]).collect();
        let values = maps.panels.iter().flat_map(|panel| &panel.map.values).flat_map(|value| value.to_le_bytes());
        npy_head(&shape).into_iter().chain(values).collect()
    };
    let failed = |source| vit_gpu::Error::Io { path: args.output.clone(), source };
    std::fs::write(&args.output, bytes).map_err(failed)?;
    log::info!("{}: {}", args.output.display(), maps.title);
    Ok(Outcome::Done)
}

impl Args {
    /// Refuses options of another method, which would have no effect.
    fn check(&self) -> Result<(), Failure> {
        use Method::{Attention, Relevance, Rollout};
        let given = [
            ("--layer", self.layer.is_some(), Attention),
            ("--head", self.head.is_some(), Attention),
            ("--grid", self.grid, Attention),
            ("--fusion", self.fusion.is_some(), Rollout),
            ("--discard", self.discard.is_some(), Rollout),
            ("--class", self.class.is_some(), Relevance),
        ];
        match given.into_iter().find(|(_, given, method)| *given && *method != self.method) {
            Some((option, _, method)) => {
                let name = format!("{method:?}").to_lowercase();
                Err(Failure::Usage(format!("{option} has an effect with --method {name} alone")))
            }
            None => Ok(()),
        }
    }

    fn maps(&self, session: &Session, image: &Image) -> Result<Maps, Failure> {
        match self.method {
            Method::Attention if self.grid => self.grid(session, image),
            Method::Attention => {
                let layer = self.layer.unwrap_or(session.attention_layers().saturating_sub(1));
                let maps = class_attention(session, image, layer..layer + 1)?.remove(0);
                let of = layer_name(session, layer);
                let Some(head) = self.head else {
                    return Ok(Maps::one(
                        format!("attention of {of}, mean of {} heads", maps.heads.len()),
                        maps.mean(),
                    ));
                };
                let count = maps.heads.len();
                let map = maps.heads.into_iter().nth(head);
                let none = || Failure::Usage(format!("--head {head}: {of} has {count} heads, counted from 0"));
                Ok(Maps::one(format!("attention of {of}, head {head}"), map.ok_or_else(none)?))
            }
            Method::Rollout => {
                let fusion = match self.fusion.unwrap_or(Fuse::Mean) {
                    Fuse::Mean => Fusion::Mean,
                    Fuse::Max => Fusion::Max,
                    Fuse::Min => Fusion::Min,
                };
                let map = rollout(session, image, Rollout { fusion, discard: self.discard.unwrap_or(0.0) })?;
                Ok(Maps::one(format!("attention rollout of {} layers", session.model().depth()), map))
            }
            Method::Relevance => {
                let class = self.class.as_deref().map(|class| class_of(session, class)).transpose()?;
                let found = relevance(session, image, class)?;
                let label = session.model().label(found.class).map_or(String::new(), |label| format!(" ({label})"));
                Ok(Maps::one(format!("relevance for class {}{label}", found.class), found.map))
            }
        }
    }

    fn grid(&self, session: &Session, image: &Image) -> Result<Maps, Failure> {
        let layers = match self.layer {
            Some(layer) => layer..layer + 1,
            None => 0..session.model().depth(),
        };
        let maps = class_attention(session, image, layers.clone())?;
        let title = match self.layer {
            Some(layer) => format!("attention of {}", layer_name(session, layer)),
            None => format!("attention of {} layers", maps.len()),
        };
        let columns = maps.first().map_or(0, |layer| layer.heads.len());
        let shape = vec![maps.len(), columns];
        let panels = maps.into_iter().flat_map(|layer| {
            let name = move |head| format!("layer {} head {head}", layer.layer);
            layer.heads.into_iter().enumerate().map(move |(head, map)| Panel { name: name(head), map })
        });
        Ok(Maps { title, panels: panels.collect(), columns, shape })
    }
}

fn layer_name(session: &Session, layer: usize) -> String {
    if layer == session.model().depth() { "the pooling".to_owned() } else { format!("layer {layer}") }
}

/// The class that a name or a number means.
fn class_of(session: &Session, text: &str) -> Result<usize, Failure> {
    let model = session.model();
    let named = |index: &usize| model.label(*index).is_some_and(|label| label.eq_ignore_ascii_case(text));
    // ImageNet's names are lists of synonyms.
    let among = |index: &usize| {
        let label = model.label(*index).unwrap_or_default();
        label.split(", ").any(|name| name.eq_ignore_ascii_case(text))
    };
    let all = || 0..model.num_classes();
    let found = all().find(named).or_else(|| all().find(among)).or_else(|| text.parse().ok());
    found.ok_or_else(|| Failure::Usage(format!("--class {text}: the model has no class of this name")))
}
