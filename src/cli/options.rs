//! Options that several commands share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use clap::{Args, ValueEnum};
use vit_gpu::internals::checkpoint::Checkpoint;
use vit_gpu::internals::device::Kernels;
use vit_gpu::internals::executor::Choice;
use vit_gpu::{Device, Orient, Precision, Session};

use super::folders::{FolderOptions, find};
use super::inputs::{Input, Reading};
use super::named;
use super::outputs::Output;
use super::progress::Progress;
use super::{Failure, Outcome};

/// The model alone.
#[derive(Args, Clone)]
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
pub fn image_size(text: &str) -> Result<(usize, usize), String> {
    let (h, w) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse().ok().filter(|n| (1..=1 << 14).contains(n));
    side(h).zip(side(w)).ok_or_else(|| "expected H or HxW, such as 384 or 384x512".to_owned())
}

impl ModelOptions {
    /// Opens the model, after a download if it is named and not in the cache.
    pub fn open(&self) -> vit_gpu::Result<Checkpoint> {
        match &self.model {
            Some(model) => named::opened(model, |path| Checkpoint::open_at(path, self.image_size)),
            None => Checkpoint::bundled_at(self.image_size),
        }
    }

    /// The model for tensors of this size, if the model's library would run them; otherwise the model at its own size.
    pub fn open_for(&self, size: (usize, usize)) -> vit_gpu::Result<Checkpoint> {
        match (&self.model, self.image_size) {
            (Some(model), None) => named::opened(model, |path| Checkpoint::open_for(path, size)),
            _ => self.open(),
        }
    }
}

/// A model, a device, and how to run.
#[derive(Args, Clone)]
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
}

/// Options that are rarely needed.
#[derive(Args, Clone)]
pub struct Tuning {
    /// Threads on the processor [default: one per core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Family of GPU kernels: auto, portable, software or matrix
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub kernels: Kernels,
}

impl RunOptions {
    /// Opens the model on the device and says where it runs.
    pub fn session(&self) -> vit_gpu::Result<Session> {
        self.session_of(|| self.model.open())
    }

    /// Like [`RunOptions::session`], for the model that `opens` returns.
    pub fn session_of(&self, opens: impl FnOnce() -> vit_gpu::Result<Checkpoint>) -> vit_gpu::Result<Session> {
        // A download has a progress bar of its own.
        let checkpoint = opens()?;
        let waiting = Progress::spinner("opening the model");
        let session = open(checkpoint, &self.device, self.precision, &self.tuning)?;
        drop(waiting);
        if let Some(note) = session.note() {
            log::info!("{note}");
        }
        let checkpoint = session.checkpoint();
        log::debug!(
            "{} ({}, {}) on {} in {}",
            checkpoint.name,
            checkpoint.family,
            checkpoint.dtypes.join("+"),
            session.device(),
            session.precision()
        );
        if !checkpoint.ignored.is_empty() {
            log::debug!("ignored tensors: {}", checkpoint.ignored.join(", "));
        }
        Ok(session)
    }
}

/// Logs which kernels were chosen by measurement, and which are not used.
pub fn log_tuning(session: &Session) {
    let tuning = session.tuning();
    for Choice { class, kernel, seconds } in tuning.choices {
        let how = seconds.map_or("remembered".to_owned(), |seconds| format!("{:.1} us", 1e6 * seconds));
        log::debug!("kernel for {class}: {kernel} ({how})");
    }
    for (kernel, reason) in tuning.dropped {
        log::info!("the kernel {kernel} is not used on this device: {reason}");
    }
}

/// Opens a model on a device.
pub fn open(
    checkpoint: Checkpoint,
    device: &Device,
    precision: Precision,
    tuning: &Tuning,
) -> vit_gpu::Result<Session> {
    let options = Session::builder().device(device.clone()).precision(precision).kernels(tuning.kernels);
    options.threads(tuning.threads).on_progress(say_what_takes_long()).build(checkpoint)
}

/// Seconds after which a first run says what it is waiting for.
const LONG: Duration = Duration::from_secs(2);

/// Says once that kernels are being compiled, if that takes long.
fn say_what_takes_long() -> impl Fn(vit_gpu::Progress) + Send + Sync {
    let (begun, left) = (Once::new(), Arc::new(AtomicUsize::new(0)));
    move |progress| {
        let vit_gpu::Progress::Kernels { done, of } = progress else { return };
        left.store(of - done, Ordering::Relaxed);
        let left = Arc::clone(&left);
        begun.call_once(|| {
            std::thread::spawn(move || {
                std::thread::sleep(LONG);
                let left = left.load(Ordering::Relaxed);
                if left > 0 {
                    log::info!("waiting for the GPU's driver, which compiles {left} more kernels");
                }
            });
        });
    }
}

/// How images are read.
#[derive(Args)]
pub struct ImageOptions {
    /// Ignore the EXIF orientation, as timm and torchvision do
    #[arg(long)]
    pub no_exif: bool,
    /// Read files that end too early, such as broken downloads, as far as they go
    #[arg(long)]
    pub truncated: bool,
}

/// Which images are run.
#[derive(Args)]
pub struct PhotoOptions {
    /// Images, folders of images, or - for an image on standard input
    #[arg(required_unless_present = "from_file", value_name = "IMAGE|DIR|-")]
    images: Vec<OsString>,
    /// Also run the images and folders in this list, one on each line or ended by zero bytes; - is a list on standard input
    #[arg(long, value_name = "LIST")]
    from_file: Option<OsString>,
    #[command(flatten)]
    folders: FolderOptions,
    /// How many images are run together: a number or auto
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    pub batch_size: BatchSize,
}

impl PhotoOptions {
    /// The images, in order.
    pub fn find(&self, resume: bool) -> Result<Vec<Input>, Failure> {
        let piped = self.images.iter().filter(|image| *image == "-").count();
        if piped + usize::from(self.from_file.as_ref().is_some_and(|list| list == "-")) > 1 {
            return Err(Failure::Usage("standard input can be read only once".to_owned()));
        }
        if resume && piped > 0 {
            return Err(Failure::Usage(
                "an image on standard input can't be read again, so --resume can't go on".to_owned(),
            ));
        }
        find(&self.images, self.from_file.as_deref(), &self.folders)
    }
}

/// Where results go.
#[derive(Args)]
pub struct OutputOptions {
    /// Write to this file, one row for each image in input order; its ending is the format [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Go on where an earlier run with the same --output stopped
    #[arg(long)]
    pub resume: bool,
}

impl OutputOptions {
    pub fn open(&self) -> Result<Output, Failure> {
        Output::open(self.output.as_deref(), self.resume)
    }

    /// Says what was written, if the run came to its end.
    pub fn say(&self, ended: Outcome, images: usize) {
        if let Some(output) = self.output.as_ref().filter(|_| ended != Outcome::Interrupted) {
            log::info!("{}: the rows of {images} {}", output.display(), if images == 1 { "image" } else { "images" });
        }
    }
}

impl ImageOptions {
    /// Those that results depend on.
    pub fn options(&self) -> BTreeMap<String, String> {
        let given = [("--no-exif", self.no_exif), ("--truncated", self.truncated)];
        let given = given.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| (name.to_owned(), "given".to_owned())).collect()
    }

    pub fn reading(&self) -> Reading {
        let orient = if self.no_exif { Orient::AsStored } else { Orient::Exif };
        Reading { orient, truncated: self.truncated, ..Reading::default() }
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
