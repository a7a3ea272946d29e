// How wide the subgroup of each invocation is.
//
// Shapes:   widths [len].
// Bindings: 0 params; 1 widths.
// Dispatch: one workgroup of 64 invocations.
// Numerics: whole numbers as f32.
// CPU twin: none; the processor has no subgroups.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> widths: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_size) width: u32) {
    if lane < params.len {
        widths[lane] = f32(width);
    }
}
