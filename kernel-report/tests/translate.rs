//! Every variant of every shader in the languages of DX12 and Metal.

use kernel_report::{spirv, translated};
use naga::back::hlsl::ShaderModel;
use vit_gpu::internals::gpu::{Needs, SHADERS};

/// Each variant with all options off, and with all on (the activation that has most code among them).
fn each(mut check: impl FnMut(&str, Needs, &spirv::Validated)) {
    for shader in SHADERS.iter() {
        for &precision in shader.precisions() {
            for constants in (shader.variants)() {
                let text = shader.text(precision, &constants);
                let known = ["ACTIVATION", "HAS_BIAS", "HAS_GAMMA", "HAS_RESIDUAL", "CAUSAL", "RMS"];
                let has: Vec<_> =
                    known.into_iter().filter(|name| text.contains(&format!("override {name}:"))).collect();
                for on in 0..=u32::from(!has.is_empty()) {
                    let options: Vec<_> = has.iter().map(|name| (*name, on)).collect();
                    let name = format!("{} {} {constants:?} {options:?}", shader.name, precision.name());
                    let module = spirv::read(&text, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
                    check(&name, shader.needs, &module);
                }
            }
        }
    }
}

#[test]
fn every_variant_is_written_in_metals_language() {
    each(|name, _, module| {
        for version in [(2, 4), (3, 1)] {
            let text = translated::msl(module, version).unwrap_or_else(|error| panic!("{name} {version:?}: {error}"));
            assert!(text.contains("kernel void"), "{name}");
        }
    });
}

#[test]
fn every_variant_is_written_in_hlsl_but_those_that_dx12_never_gets() {
    each(|name, needs, module| {
        // No DX12 adapter of wgpu has cooperative matrices, and naga can't write them in HLSL. FXC (5.1) has no subgroups and no f16.
        if needs == Needs::Matrices {
            return;
        }
        let wide = needs == Needs::Nothing && !name.contains(" f16 ");
        for model in [(wide, ShaderModel::V5_1), (true, ShaderModel::V6_2), (true, ShaderModel::V6_8)] {
            let (true, model) = model else { continue };
            let (text, entry) = translated::hlsl(module, model).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(text.contains(&format!("void {entry}(")), "{name}");
        }
    });
}
