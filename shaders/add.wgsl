// y = scale·(a + b).
//
// Shapes:   a, b, y [len]; E.
// Bindings: 0 params; 1 a; 2 b; 3 y.
// Dispatch: 64 invocations, one output value each, counted along x, then y.
// Numerics: one f32 addition, one multiplication, whatever E is.
// CPU twin: src/ops/add.rs.

struct Params {
    len: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<E>;
@group(0) @binding(2) var<storage, read> b: array<E>;
@group(0) @binding(3) var<storage, read_write> y: array<E>;

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
    y[at] = E(params.scale * (f32(a[at]) + f32(b[at])));
}
