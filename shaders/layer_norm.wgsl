// y = (x − mean)/√(var + eps)·weight + bias within each group of len consecutive values; with RMS mean and bias are 0.
//
// Shapes:   x [groups, len], weight [len], bias [len], y [groups, len]; E, any len.
// Bindings: 0 params; 1 x; 2 weight; 3 bias (with RMS a placeholder that is not read); 4 y.
// Dispatch: one workgroup of 64 a group, counted along x, then y.
// Numerics: f32 for every E; the mean first, then the variance around it (no cancellation); 64 running sums, added up in a tree.
// CPU twin: src/ops/layer_norm.rs.

struct Params {
    groups: u32,
    len: u32,
    eps: f32,
}

override RMS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<E>;
@group(0) @binding(2) var<storage, read> weight: array<E>;
@group(0) @binding(3) var<storage, read> bias: array<E>;
@group(0) @binding(4) var<storage, read_write> y: array<E>;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let which = workgroup_index(group, groups);
    if which >= params.groups { // true for all invocations of the workgroup or for none
        return;
    }
    let first = which * params.len;
    var mean = 0.0;
    if !RMS {
        var sum = 0.0;
        for (var i = lane; i < params.len; i += SIZE) {
            sum += f32(x[first + i]);
        }
        mean = total(sum, lane) / f32(params.len);
    }
    var squares = 0.0;
    for (var i = lane; i < params.len; i += SIZE) {
        let d = f32(x[first + i]) - mean;
        squares = fma(d, d, squares);
    }
    let variance = total(squares, lane) / f32(params.len);
    let rstd = 1.0 / sqrt(variance + params.eps);
    for (var i = lane; i < params.len; i += SIZE) {
        var value = (f32(x[first + i]) - mean) * rstd * f32(weight[i]);
        if !RMS {
            value += f32(bias[i]);
        }
        y[first + i] = E(value);
    }
}
