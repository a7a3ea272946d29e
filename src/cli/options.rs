//! Options that several commands share.

use clap::{Args, ValueEnum};
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::device::Kernels;
use vit_gpu::internals::executor::Choice;
use vit_gpu::{Device, Orient, Precision, Session};

use super::named;
use super::progress::Progress;

/// The model alone.
#[derive(Args)]
pub struct ModelOptions {
    /// A model's folder, a .safetensors or .npz file, a name on the hub (owner/name[@revision]), a short name (see `vit-gpu
    /// models`), or random:ARCH@SEED [default: the built-in CIFAR-10 model]
    #[arg(long, short = 'm', value_name = "MODEL")]
    pub model: Option<String>,
    /// Run at another image size than the model's own; positions are resampled and preprocessing is adapted
    #[arg(long, value_name = "H[xW]", value_parser = image_size)]
    pub image_size: Option<(usize, usize)>,
}

/// `H` or `HxW`.
fn image_size(text: &str) -> Result<(usize, usize), String> {
    let (h, w) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse().ok().filter(|n| (1..=1 << 14).contains(n));
    side(h).zip(side(w)).ok_or_else(|| "expected H or HxW, such as 384 or 384x512".to_owned())
}

impl ModelOptions {
    /// Opens the model, after a download if it is named and not in the cache.
    pub fn open(&self, quiet: bool) -> vit_gpu::Result<Checkpoint> {
        match &self.model {
            Some(model) => named::opened(model, quiet, |path| Checkpoint::open_at(path, self.image_size)),
            None => Checkpoint::bundled_at(self.image_size),
        }
    }

    /// The model for tensors of this size, if the model's library would run them; otherwise the model at its own size.
    pub fn open_for(&self, size: (usize, usize), quiet: bool) -> vit_gpu::Result<Checkpoint> {
        match (&self.model, self.image_size) {
            (Some(model), None) => named::opened(model, quiet, |path| Checkpoint::open_for(path, size)),
            _ => self.open(quiet),
        }
    }
}

/// A model, a device, and how to run.
#[derive(Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub model: ModelOptions,
    /// auto, gpu, cpu, or an adapter's index or part of its name (see `vit-gpu devices`)
    #[arg(long, short = 'd', default_value = "auto")]
    pub device: Device,
    /// Number type: f32; f16 on GPUs that support it; i8 (8-bit products in the blocks) on the processor
    #[arg(long, default_value = "f32", value_name = "f32|f16|i8")]
    pub precision: Precision,
    #[command(flatten)]
    pub tuning: Tuning,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Options that are rarely needed.
#[derive(Args)]
pub struct Tuning {
    /// Threads on the processor [default: one per core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Family of GPU kernels: auto, portable, software or matrix
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub kernels: Kernels,
}

/// How much is said on stderr.
#[derive(Args)]
pub struct Verbosity {
    /// Print nothing but errors on stderr
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more on stderr: the model, the device, the chosen kernels
    #[arg(long, short)]
    pub verbose: bool,
}

impl Verbosity {
    pub fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    pub fn detail(&self, text: &str) {
        if self.verbose {
            eprintln!("{text}");
        }
    }
}

impl RunOptions {
    /// Opens the model on the device and says where it runs.
    pub fn session(&self) -> vit_gpu::Result<Session> {
        self.session_of(|| self.model.open(self.verbosity.quiet))
    }

    /// Like [`RunOptions::session`], for the model that `opens` returns.
    pub fn session_of(&self, opens: impl FnOnce() -> vit_gpu::Result<Checkpoint>) -> vit_gpu::Result<Session> {
        // A download has a progress bar of its own.
        let checkpoint = opens()?;
        let waiting = Progress::spinner("opening the model", self.verbosity.quiet);
        let session = open(checkpoint, &self.device, self.precision, &self.tuning)?;
        drop(waiting);
        if let Some(note) = session.note() {
            self.verbosity.say(note);
        }
        let checkpoint = session.checkpoint();
        self.verbosity.detail(&format!(
            "{} ({}, {}) on {} in {}",
            checkpoint.name,
            checkpoint.family,
            checkpoint.dtypes.join("+"),
            session.device(),
            session.precision()
        ));
        if !checkpoint.ignored.is_empty() {
            self.verbosity.detail(&format!("ignored tensors: {}", checkpoint.ignored.join(", ")));
        }
        Ok(session)
    }
}

impl Verbosity {
    /// Prints which kernels were chosen by measurement (with -v), and which are not used.
    pub fn tuning(&self, session: &Session) {
        let tuning = session.tuning();
        for Choice { class, kernel, seconds } in tuning.choices {
            let how = seconds.map_or("remembered".to_owned(), |seconds| format!("{:.1} us", 1e6 * seconds));
            self.detail(&format!("kernel for {class}: {kernel} ({how})"));
        }
        for (kernel, reason) in tuning.dropped {
            self.say(&format!("the kernel {kernel} is not used on this device: {reason}"));
        }
    }
}

/// Opens a model on a device.
pub fn open(
    checkpoint: Checkpoint,
    device: &Device,
    precision: Precision,
    tuning: &Tuning,
) -> vit_gpu::Result<Session> {
    let options =
        Session::builder().device(device.clone()).precision(precision).kernels(tuning.kernels).threads(tuning.threads);
    options.build(checkpoint)
}

/// How images are read.
#[derive(Args)]
pub struct ImageOptions {
    /// Ignore the EXIF orientation, as timm and torchvision do
    #[arg(long)]
    pub no_exif: bool,
}

impl ImageOptions {
    pub fn orient(&self) -> Orient {
        if self.no_exif { Orient::AsStored } else { Orient::Exif }
    }
}

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// `N` or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    Auto,
    Of(usize),
}

impl std::str::FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(BatchSize::Auto),
            (_, Ok(size)) if size > 0 => Ok(BatchSize::Of(size)),
            _ => Err("expected a whole number, 1 or more, or auto".to_owned()),
        }
    }
}
