//! Texts in the languages of DX12 and Metal, as naga writes them for wgpu.

use naga::back::{hlsl, msl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::{AddressSpace, Module, ResourceBinding, StorageAccess};

use crate::spirv::Validated;

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

fn entry() -> Option<(naga::ShaderStage, String)> {
    Some((naga::ShaderStage::Compute, "main".to_owned()))
}

/// The buffers of a module in order, each with whether it is a storage buffer, and whether it is written.
fn buffers(module: &Module) -> Vec<(ResourceBinding, bool, bool)> {
    let of = |space| match space {
        AddressSpace::Storage { access } => (true, access.contains(StorageAccess::STORE)),
        _ => (false, false),
    };
    let all = module.global_variables.iter().map(|(_, variable)| (variable.binding, of(variable.space)));
    let mut found: Vec<_> =
        all.filter_map(|(binding, (storage, written))| Some((binding?, storage, written))).collect();
    found.sort_by_key(|(binding, ..)| binding.binding);
    found
}

/// HLSL of a shader model, and what its entry point is called there.
///
/// # Errors
/// What naga says.
pub fn hlsl((module, info): &Validated, model: hlsl::ShaderModel) -> Result<(String, String), String> {
    let mut counts = [0; 3];
    let mut register = |storage: bool, written: bool| {
        let at = usize::from(storage) + usize::from(written);
        counts[at] += 1;
        counts[at] - 1
    };
    let target = |register| hlsl::BindTarget { register, ..Default::default() };
    let map = buffers(module).into_iter().map(|(at, storage, written)| (at, target(register(storage, written))));
    let options = hlsl::Options {
        shader_model: model,
        binding_map: map.collect(),
        fake_missing_bindings: false,
        special_constants_binding: Some(target(1)),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let mut text = String::new();
    let pipeline = hlsl::PipelineOptions { entry_point: entry() };
    let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None);
    let names = written.map_err(|error| error.to_string())?.entry_point_names;
    let name = names.into_iter().next().ok_or("no entry point")?.map_err(|error| error.to_string())?;
    Ok((text, name))
}

/// Metal's language in a version.
///
/// # Errors
/// What naga says.
pub fn msl((module, info): &Validated, version: (u8, u8)) -> Result<String, String> {
    let target = |at: ResourceBinding, written| msl::BindTarget {
        buffer: Some(at.binding as u8),
        mutable: written,
        ..Default::default()
    };
    let resources = buffers(module).into_iter().map(|(at, _, written)| (at, target(at, written))).collect();
    let resources = msl::EntryPointResources { resources, immediates_buffer: None, sizes_buffer: Some(30) };
    let options = msl::Options {
        lang_version: version,
        per_entry_point_map: [("main".to_owned(), resources)].into_iter().collect(),
        fake_missing_bindings: false,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions { entry_point: entry(), ..Default::default() };
    let (text, told) = msl::write_string(module, info, &options, &pipeline).map_err(|error| error.to_string())?;
    let name = told.entry_point_names.into_iter().next().ok_or("no entry point")?;
    name.map(|_| text).map_err(|error| error.to_string())
}
