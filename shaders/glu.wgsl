// y[r] = act(x[r, ..width])·x[r, width..]: a gated linear unit, the gate first.
//
// Shapes:   x [rows, 2·width]; y [rows, width]; E.
// Bindings: 0 params; 1 x; 2 y.
// Dispatch: 64 invocations, one output value each, counted along x, then y.
// Numerics: f32 whatever E is.
// CPU twin: src/ops/glu.rs.

struct Params {
    len: u32, // output values
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<E>;
@group(0) @binding(2) var<storage, read_write> y: array<E>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = workgroup_index(group, groups) * 64u + lane;
    if at >= params.len {
        return;
    }
    let first = at / params.width * 2u * params.width + at % params.width;
    y[at] = E(activate4(vec4(f32(x[first]))).x * f32(x[first + params.width]));
}
