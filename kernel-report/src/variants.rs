//! Every variant of every shader, ready to be translated.

use vit_gpu::Precision;
use vit_gpu::internals::gpu::{Needs, SHADERS};

use crate::spirv::{Validated, read};

/// One variant.
pub struct Variant {
    /// Its shader, precision, constants and options, for messages.
    pub name: String,
    /// What it needs beyond WebGPU's core.
    pub needs: Needs,
    /// Its element type.
    pub precision: Precision,
    /// Bytes of workgroup memory it takes.
    pub memory: u32,
    /// The module.
    pub module: Validated,
}

impl Variant {
    /// Whether a DX12 adapter can be given it: none has cooperative matrices in wgpu, nor more than 32 KiB of workgroup memory.
    #[must_use]
    pub fn is_for_dx12(&self) -> bool {
        self.needs != Needs::Matrices && self.memory <= 32_768
    }

    /// Whether a DX12 adapter can be given it where FXC compiles (model 5.1), which knows neither subgroups nor 16-bit floats.
    #[must_use]
    pub fn is_for_fxc(&self) -> bool {
        self.is_for_dx12() && self.needs == Needs::Nothing && self.precision == Precision::F32
    }
}

/// The shaders' options.
const OPTIONS: [&str; 6] = ["ACTIVATION", "HAS_BIAS", "HAS_GAMMA", "HAS_RESIDUAL", "CAUSAL", "RMS"];

/// Gives each variant with all options off, and with all on (of the activations, the one with most code).
///
/// # Errors
/// What naga says of a text, or what `take` fails with; the variant's name is put before.
pub fn each(mut take: impl FnMut(&Variant) -> Result<(), String>) -> Result<(), String> {
    for shader in SHADERS.iter() {
        for &precision in shader.precisions() {
            for constants in (shader.variants)() {
                let memory = (shader.memory)(&constants);
                let text = shader.text(precision, &constants);
                let has = |name: &&str| text.contains(&format!("override {name}:"));
                let options: Vec<_> = OPTIONS.into_iter().filter(has).collect();
                for on in 0..=u32::from(!options.is_empty()) {
                    let options: Vec<_> = options.iter().map(|name| (*name, on)).collect();
                    let name = format!("{} {} {constants:?} {options:?}", shader.name, precision.name());
                    let taken = read(&text, &options).and_then(|module| {
                        take(&Variant { name: name.clone(), needs: shader.needs, precision, memory, module })
                    });
                    taken.map_err(|error| format!("{name}: {error}"))?;
                }
            }
        }
    }
    Ok(())
}
