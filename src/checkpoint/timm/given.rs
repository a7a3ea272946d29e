//! Collects the constructor's arguments as timm's factory does: those of the architecture, overridden by `model_args`, and those that
//! only `pretrained_cfg` gives (`timm/models/{_hub,_factory,_builder}.py`).

use serde_json::Value;

use super::seen;
use crate::checkpoint::names::{Names, size};
use crate::checkpoint::reconcile::{number, sides};
use crate::error::Result;
use crate::model::constructor::{Arguments, GlobalPool, MlpLayer, NormLayer, block_fn};
use crate::model::{Block, arch};
use crate::ops::Activation;

/// Arguments that change nothing at inference.
const HARMLESS: [&str; 16] = [
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "weight_init",
    "fix_init",
    "strict_img_size",
    "device",
    "dtype",
    "scriptable",
    "exportable",
    "no_jit",
    "pretrained_strict",
    "cache_dir",
];

/// Arguments of timm's factory that give another kind of model if they are on.
const OTHER_MODELS: [&str; 4] = ["features_only", "pruned", "use_naflex", "pretrained"];

/// The constructor's arguments from the configuration, and the architecture they are based on.
pub struct Given<'a> {
    names: &'a Names,
    /// `model_args`, null where there are none.
    args: Value,
    /// The name of the architecture, if it is in the table.
    known: Option<&'a str>,
    /// Whether the sizes are taken from the tensors and not from the architecture.
    resized: bool,
    /// The arguments. If the architecture is not known, they start from what the tensors show.
    pub arguments: Arguments,
    /// Whether `dynamic_img_pad` is on: images are padded to whole patches.
    pub pads: bool,
}

impl<'a> Given<'a> {
    pub fn new(names: &'a Names) -> Result<Given<'a>> {
        let name = names.text_field("architecture").or(names.text_field("timm_model_name"));
        if let Some(name) = name.filter(|name| arch::is_other(name)) {
            return Err(names
                .config_error(format!("architecture `{name}` is not a VisionTransformer in timm, but another class")));
        }
        let known = name.and_then(arch::arguments);
        let args = names.field("model_args").cloned().unwrap_or(Value::Null);
        if !(args.is_object() || args.is_null()) {
            return Err(names.config_error(format!("`model_args` is {args}")));
        }
        // A field of this crate's own says that the model is that architecture with other sizes. They are taken from the tensors.
        let resized = names.field("num_heads").is_some();
        let arguments = match &known {
            Some(arguments) if resized => seen::at_sizes(names, &args, arguments)?,
            Some(arguments) => arguments.clone(),
            None => seen::arguments(names, &args)?,
        };
        let known = name.filter(|_| known.is_some());
        let mut given = Given { names, args, known, resized, arguments, pads: false };
        given.apply()?;
        given.defaults()?;
        given.own_fields()?;
        Ok(given)
    }

    /// Whether `model_args` gives this argument. The factory drops those that are null.
    pub fn has(&self, name: &str) -> bool {
        self.args.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the architecture's name tells what `model_args` does not.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// For messages: where the value of an argument comes from; `None` if it is only known from the tensors.
    pub fn source(&self, name: &str) -> Option<String> {
        if self.has(name) {
            return Some(format!("model_args.{name}"));
        }
        let pretrained = self.pretrained();
        match name {
            "num_classes" if self.names.field(name).is_some() => return Some(name.to_owned()),
            "num_classes" if pretrained.is_some_and(|cfg| cfg.get(name).is_some_and(Value::is_number)) => {
                return Some(format!("pretrained_cfg.{name}"));
            }
            "in_chans" if pretrained.is_some_and(|cfg| cfg.get("input_size").is_some_and(Value::is_array)) => {
                return Some("pretrained_cfg.input_size".to_owned());
            }
            // The number of classes does not follow from the architecture.
            "num_classes" => return None,
            _ => {}
        }
        self.known.filter(|_| !self.resized).map(|known| format!("{name} of the architecture {known}"))
    }

    /// `pretrained_cfg`; in old files the root itself.
    fn pretrained(&self) -> Option<&'a Value> {
        let names = self.names;
        names
            .field("pretrained_cfg")
            .or_else(|| names.config.as_ref().filter(|_| names.field("architecture").is_some()))
    }

    /// `model_args`, each read or refused.
    fn apply(&mut self) -> Result<()> {
        let Some(args) = self.args.as_object().cloned() else { return Ok(()) };
        let names = self.names;
        for (name, value) in args.iter().filter(|(_, value)| !value.is_null()) {
            let what = format!("model_args.{name}");
            let bad = || names.config_error(format!("{what} is {value}, which can't be run"));
            let whole = || number(names, &what, value);
            let flag = || match value {
                Value::Bool(on) => Ok(*on),
                _ => size(value).filter(|n| *n < 2).map(|n| n == 1).ok_or_else(bad),
            };
            let float = || value.as_f64().filter(|v| v.is_finite()).ok_or_else(bad);
            let text = || value.as_str().ok_or_else(bad);
            let made = &mut self.arguments;
            match name.as_str() {
                "img_size" => made.img_size = sides(names, &what, value)?,
                "patch_size" => made.patch_size = sides(names, &what, value)?,
                "in_chans" => made.in_chans = whole()?,
                "num_classes" => made.num_classes = whole()?,
                "embed_dim" => made.embed_dim = whole()?,
                "depth" => made.depth = whole()?,
                "num_heads" => made.num_heads = whole()?,
                "reg_tokens" => made.reg_tokens = whole()?,
                "mlp_ratio" => made.mlp_ratio = float()?,
                "init_values" => made.init_values = Some(float()?),
                "qkv_bias" => made.qkv_bias = flag()?,
                "qk_norm" => made.qk_norm = flag()?,
                "scale_attn_norm" => made.scale_attn_norm = flag()?,
                "scale_mlp_norm" => made.scale_mlp_norm = flag()?,
                "proj_bias" => made.proj_bias = flag()?,
                "class_token" => made.class_token = flag()?,
                "no_embed_class" => made.no_embed_class = flag()?,
                "pre_norm" => made.pre_norm = flag()?,
                "final_norm" => made.final_norm = flag()?,
                "fc_norm" => made.fc_norm = Some(flag()?),
                "pool_include_prefix" => made.pool_include_prefix = flag()?,
                "dynamic_img_size" => made.dynamic_img_size = flag()?,
                "dynamic_img_pad" => self.pads = flag()?,
                "global_pool" => made.global_pool = Some(GlobalPool::named(text()?).ok_or_else(bad)?),
                "pos_embed" => {
                    made.pos_embed = match text()? {
                        "learn" => true,
                        "" | "none" => false,
                        _ => return Err(bad()),
                    }
                }
                // An empty name counts as missing.
                "norm_layer" if text()?.is_empty() => made.norm_layer = NormLayer::default(),
                "norm_layer" => made.norm_layer = NormLayer::named(text()?).ok_or_else(bad)?,
                "embed_norm_layer" if text()?.is_empty() => made.embed_norm_layer = None,
                "embed_norm_layer" => made.embed_norm_layer = Some(NormLayer::named(text()?).ok_or_else(bad)?),
                "act_layer" if text()?.is_empty() => made.act_layer = Activation::Gelu,
                "act_layer" => made.act_layer = Activation::named(&text()?.to_lowercase()).ok_or_else(bad)?,
                "block_fn" => made.block_fn = block(names, text()?).ok_or_else(bad)?,
                "mlp_layer" => made.mlp_layer = MlpLayer::named(text()?).ok_or_else(bad)?,
                "attn_layer" if matches!(text()?, "" | "attn" | "Attention") => {}
                "embed_layer" if text()? == "PatchEmbed" => {}
                other if HARMLESS.contains(&other) => {}
                other if OTHER_MODELS.contains(&other) && !flag()? => {}
                _ => return Err(bad()),
            }
        }
        Ok(())
    }

    /// What the factory takes from `pretrained_cfg` where no argument is given.
    fn defaults(&mut self) -> Result<()> {
        let names = self.names;
        if let (false, Some(pretrained)) = (self.has("num_classes"), self.pretrained()) {
            let stated = names.field("num_classes").or_else(|| pretrained.get("num_classes"));
            match stated.filter(|value| !value.is_null()) {
                // The factory does not pass on a negative number.
                Some(value) if value.as_i64().is_some_and(|n| n < 0) => {}
                Some(value) => self.arguments.num_classes = number(names, "`num_classes`", value)?,
                None => {}
            }
        }
        if let Some(chans) = self.input_channels().filter(|_| !self.has("in_chans")) {
            self.arguments.in_chans = chans;
        }
        let pool = self.pretrained().and_then(|cfg| cfg.get("global_pool")).filter(|value| !value.is_null());
        if let (None, Some(value)) = (self.arguments.global_pool, pool) {
            let named = value.as_str().and_then(GlobalPool::named);
            let refused = || names.config_error(format!("`global_pool` is {value}, which can't be run"));
            self.arguments.global_pool = Some(named.ok_or_else(refused)?);
        }
        Ok(())
    }

    fn input_channels(&self) -> Option<usize> {
        self.pretrained()?.get("input_size")?.as_array().filter(|size| size.len() == 3).and_then(|all| size(&all[0]))
    }

    /// Fields at the root that are this crate's own, for classes that timm does not know (`docs/your-own-vit.md`).
    fn own_fields(&mut self) -> Result<()> {
        let names = self.names;
        if let Some(heads) = names.size_field("num_heads")?.filter(|_| !self.has("num_heads")) {
            self.arguments.num_heads = heads;
        }
        if let Some(eps) = names.number_field("eps")? {
            self.arguments.norm_layer.eps = eps as f32;
            if let Some(norm) = &mut self.arguments.embed_norm_layer {
                norm.eps = eps as f32;
            }
        }
        self.arguments.act_layer = names.act_field("act")?.unwrap_or(self.arguments.act_layer);
        // timm writes this key for information only. It is used if nothing else gives the value.
        let pool = names.text_field("global_pool").filter(|name| !self.is_known() && !name.is_empty());
        if let (None, Some(name)) = (self.arguments.global_pool, pool) {
            let refused = || names.config_error(format!("`global_pool` is {name}, which can't be run"));
            self.arguments.global_pool = Some(GlobalPool::named(name).ok_or_else(refused)?);
        }
        Ok(())
    }
}

/// The block with this class name (`block_fn`). The number of branches of a parallel block is another argument, which the tensors show.
fn block(names: &Names, name: &str) -> Option<Block> {
    match (block_fn(name)?, names.count("blocks.0.attns.")) {
        (Block::ParallelThings(_), branches) if branches > 0 => Some(Block::ParallelThings(branches)),
        (block, _) => Some(block),
    }
}
