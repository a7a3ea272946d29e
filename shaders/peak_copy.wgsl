// y = x: copies memory, to measure how many bytes per second the device can move.
//
// Shapes:   x, y f32 [4·len].
// Bindings: 0 params; 1 x; 2 y.
// Dispatch: 64 invocations a workgroup, one vec4 each, counted along x, then y.
// Numerics: none; values are copied.
// CPU twin: none; it measures the device.

struct Params {
    len: u32, // vec4s
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = workgroup_index(group, groups) * 64u + lane;
    if at < params.len {
        y[at] = x[at];
    }
}
