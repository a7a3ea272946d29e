//! WGSL to SPIR-V, as wgpu's Vulkan backend does it for modules without run-time checks.

use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// A module without overrides, and what validation found of it.
pub type Validated = (naga::Module, ModuleInfo);

/// Reads a text and puts values in for its overrides.
///
/// # Errors
/// What naga says of the text.
pub fn read(text: &str, overrides: &[(&'static str, u32)]) -> Result<Validated, String> {
    let options = naga::front::wgsl::Options { capabilities: Capabilities::all(), parse_doc_comments: false };
    let module = naga::front::wgsl::Frontend::new_with_options(options)
        .parse(text)
        .map_err(|error| error.emit_to_string(text))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|error| format!("{error:?}"))?;
    let values = overrides.iter().map(|(name, value)| ((*name).to_owned(), f64::from(*value))).collect();
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &values)
        .map_err(|error| error.to_string())?;
    Ok((module.into_owned(), info.into_owned()))
}

/// The SPIR-V of a text, with values for its overrides.
///
/// # Errors
/// What naga says of the text.
pub fn compile(text: &str, overrides: &[(&'static str, u32)]) -> Result<Vec<u32>, String> {
    let (module, info) = read(text, overrides)?;
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = naga::back::spv::Options {
        lang_version: (1, 6),
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: naga::back::spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    naga::back::spv::write_vec(&module, &info, &options, None).map_err(|error| error.to_string())
}
