//! Every variant of every shader in the languages of DX12 and Metal.

use kernel_report::{translated, variants};
use naga::back::hlsl::ShaderModel;

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
        if !variant.is_for_dx12() {
            return Ok(());
        }
        let models = [ShaderModel::V5_1, ShaderModel::V6_2, ShaderModel::V6_8];
        for model in models.into_iter().skip(usize::from(!variant.is_for_fxc())) {
            let (text, entry) = translated::hlsl(&variant.module, model)?;
            assert!(text.contains(&format!("void {entry}(")), "{}", variant.name);
        }
        Ok(())
    });
    assert_eq!(all, Ok(()));
}
