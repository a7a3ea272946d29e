//! Shaders without a device: both compilers accept them, and what Rust assumes of each is what its text says.

use std::io::Write;
use std::process::{Command, Stdio};

use vit_gpu::Precision;
use vit_gpu::internals::gpu::{Needs, SHADERS, Shader};

/// Every text a shader can have: a name for messages, precision and text.
fn texts(shader: &Shader) -> Vec<(String, Precision, String)> {
    let all = (shader.variants)();
    assert!(!all.is_empty(), "{}: no variant", shader.name);
    let each = |&precision: &Precision| {
        all.iter()
            .map(move |constants| {
                let name = format!("{} in {} with {constants:?}", shader.name, precision.name());
                (name, precision, shader.text(precision, constants))
            })
            .collect::<Vec<_>>()
    };
    shader.precisions().iter().flat_map(each).collect()
}

fn parse(name: &str, text: &str) -> naga::Module {
    let module = naga::front::wgsl::Frontend::new_with_options(naga::front::wgsl::Options {
        capabilities: naga::valid::Capabilities::all(),
        parse_doc_comments: false,
    })
    .parse(text)
    .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{name}: {e:?}"));
    module
}

#[test]
fn naga_accepts_every_shader_and_finds_what_rust_assumes() {
    for (shader, name, text) in all_texts() {
        let module = parse(&name, &text);
        let entry = &module.entry_points[0];
        assert_eq!((module.entry_points.len(), entry.name.as_str()), (1, "main"), "{name}");
        if let Some(lanes) = shader.workgroup {
            assert_eq!(entry.workgroup_size, [lanes, 1, 1], "{name}");
        }
        assert!(entry.workgroup_size[0] <= 256, "{name}: {:?} invocations", entry.workgroup_size);

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

fn all_texts() -> impl Iterator<Item = (&'static Shader, String, String)> {
    SHADERS.iter().flat_map(|shader| texts(shader).into_iter().map(move |(name, _, text)| (shader, name, text)))
}

/// What a module takes of workgroup memory; the choice of kernels computes the same from their constants.
fn workgroup_memory(module: &naga::Module) -> u32 {
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
    shared.map(|(_, variable)| layouter[variable.ty].size).sum()
}

#[test]
fn workgroup_memory_is_what_the_choice_of_kernels_believes() {
    for (shader, name, text) in all_texts() {
        let bytes = workgroup_memory(&parse(&name, &text));
        let constants = (shader.variants)().into_iter().find(|constants| name.ends_with(&format!("{constants:?}")));
        let believed = (shader.memory)(&constants.unwrap());
        assert_eq!(bytes, believed, "{name}");
        assert!(shader.inputs < 8, "{name}: more than 8 storage buffers");
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
    for (shader, name, text) in all_texts() {
        // Cooperative matrices are wgpu's own extension.
        let enable = match shader.needs {
            Needs::Nothing => "",
            Needs::Subgroups => "enable subgroups;\n",
            Needs::Matrices => continue,
        };
        let mut file = tempfile::Builder::new().suffix(".wgsl").tempfile().unwrap();
        write!(file, "{enable}{text}").unwrap();
        let output = Command::new("tint").args(["--format", "wgsl"]).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_shader_file_is_in_the_table_and_says_what_it_is() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "wgsl") {
            let text = std::fs::read_to_string(&path).unwrap();
            let used = SHADERS.iter().any(|shader| *shader.parts.last().unwrap() == text);
            assert!(used, "{} is in no shader", path.display());
        }
    }
    for shader in SHADERS.iter() {
        let file = shader.parts.last().unwrap();
        for heading in ["// Shapes:", "// Bindings:", "// Dispatch:", "// Numerics:", "// CPU twin: "] {
            assert!(file.contains(heading), "{}: no {heading}", shader.name);
        }
    }
}
