//! Shaders without a device: both compilers accept them, and what Rust assumes of each is what its text says.

use std::io::Write;
use std::process::{Command, Stdio};

use vit_gpu::gpu::{SHADERS, Shader};

fn text(shader: &Shader) -> String {
    shader.text(shader.constants)
}

fn parse(shader: &Shader) -> naga::Module {
    let text = text(shader);
    let module =
        naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}: {}", shader.name, e.emit_to_string(&text)));
    let capabilities = naga::valid::Capabilities::SUBGROUP | naga::valid::Capabilities::SUBGROUP_BARRIER;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {e:?}", shader.name));
    module
}

#[test]
fn naga_accepts_every_shader_and_finds_what_rust_assumes() {
    for shader in &SHADERS {
        let module = parse(shader);
        let entry = &module.entry_points[0];
        assert_eq!((module.entry_points.len(), entry.name.as_str()), (1, "main"), "{}", shader.name);
        assert_eq!(entry.workgroup_size, shader.workgroup, "{}", shader.name);

        let mut bound: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| variable.binding.as_ref().map(|at| (at.binding, at.group, variable)))
            .collect();
        bound.sort_by_key(|(binding, ..)| *binding);
        assert_eq!(bound.len() as u32, shader.inputs + 2, "{}: bindings", shader.name);
        for (i, (binding, group, variable)) in bound.iter().enumerate() {
            assert_eq!((*binding, *group), (i as u32, 0), "{}", shader.name);
            let want = match *binding {
                0 => naga::AddressSpace::Uniform,
                b if b <= shader.inputs => naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD },
                _ => naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD | naga::StorageAccess::STORE },
            };
            assert_eq!(variable.space, want, "{}: binding {binding}", shader.name);
        }
        let naga::TypeInner::Struct { members, .. } = &module.types[bound[0].2.ty].inner else {
            panic!("{}: parameters are no struct", shader.name)
        };
        let fields: Vec<_> = members.iter().map(|member| member.name.as_deref().unwrap_or("")).collect();
        assert_eq!(fields, shader.fields, "{}", shader.name);
        for (i, member) in members.iter().enumerate() {
            assert_eq!(member.offset as usize, 4 * i, "{}: {:?}", shader.name, member.name);
        }
    }
}

#[test]
fn workgroup_memory_stays_within_webgpus_default() {
    for shader in &SHADERS {
        let module = parse(shader);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        assert!(bytes <= 16_384, "{}: {bytes} bytes", shader.name);
        assert!(shader.workgroup.iter().product::<u32>() <= 256, "{}", shader.name);
        assert!(shader.inputs < 8, "{}: more than 8 storage buffers", shader.name);
    }
}

/// Tint (Chrome's compiler) is stricter about uniform control flow. Where it is installed, it must accept every shader.
#[test]
fn tint_accepts_every_shader() {
    let found = Command::new("tint").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("tint is not installed: nothing was checked");
        return;
    }
    for shader in &SHADERS {
        let enable = if shader.subgroups { "enable subgroups;\n" } else { "" };
        let mut file = tempfile::Builder::new().suffix(".wgsl").tempfile().unwrap();
        write!(file, "{enable}{}", text(shader)).unwrap();
        let output = Command::new("tint").args(["--format", "wgsl"]).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{}: {}", shader.name, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_shader_file_is_in_the_table_and_says_what_it_is() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".wgsl").map(str::to_owned))
        .collect();
    let mut known: Vec<String> = SHADERS.iter().map(|shader| shader.name.to_owned()).collect();
    files.sort();
    known.sort();
    assert_eq!(files, known);
    for shader in &SHADERS {
        let file = shader.parts.last().unwrap();
        for heading in ["// Shapes:", "// Bindings:", "// Dispatch:", "// Numerics:", "// CPU twin: src/ops/"] {
            assert!(file.contains(heading), "{}: no {heading}", shader.name);
        }
    }
}
