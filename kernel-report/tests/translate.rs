//! Every variant of every shader in the languages of DX12 and Metal.

use kernel_report::{translated, variants};
use naga::back::hlsl::ShaderModel;
use vit_gpu::Precision;
use vit_gpu::internals::gpu::Needs;

#[test]
fn every_variant_is_written_in_metals_language() {
    let mut count = 0;
    let all = variants::each(|variant| {
        for version in [(2, 4), (3, 1)] {
            let text = translated::msl(&variant.module, version)?;
            assert!(text.contains("kernel void"), "{}", variant.name);
        }
        count += 1;
        Ok(())
    });
    assert_eq!(all, Ok(()));
    assert!(count > 200, "{count} variants");
}

#[test]
fn every_variant_is_written_in_hlsl_but_those_that_dx12_never_gets() {
    let all = variants::each(|variant| {
        // Where FXC compiles (model 5.1), there are neither subgroups nor f16.
        if !variant.is_for_dx12() {
            return Ok(());
        }
        let plain = variant.needs == Needs::Nothing && variant.precision == Precision::F32;
        for model in [ShaderModel::V5_1, ShaderModel::V6_2, ShaderModel::V6_8].into_iter().skip(usize::from(!plain)) {
            let (text, entry) = translated::hlsl(&variant.module, model)?;
            assert!(text.contains(&format!("void {entry}(")), "{}", variant.name);
        }
        Ok(())
    });
    assert_eq!(all, Ok(()));
}
