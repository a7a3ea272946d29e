// y[b] = of_mean·mean + of_max·max over count tokens of x[b], from token first on (one token: that token).
//
// Shapes:   x [batch, tokens, width]; y [batch, ld], columns col to col + width; E.
// Bindings: 0 params; 1 x; 2 y.
// Dispatch: 64 invocations, one output value each, counted along x, then y.
// Numerics: f32, with 4 running sums to keep rounding errors small for thousands of tokens.
// CPU twin: src/ops/pool.rs.

struct Params {
    len: u32, // output values
    tokens: u32,
    width: u32,
    first: u32,
    count: u32,
    col: u32, // first column of y
    ld: u32, // columns of y
    of_mean: f32,
    of_max: f32,
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
    let image = at / params.width;
    let d = at % params.width;
    let start = (image * params.tokens + params.first) * params.width + d;
    var sums = vec4(0.0);
    var largest = f32(x[start]);
    for (var t = 0u; t < params.count; t++) {
        let value = f32(x[start + t * params.width]);
        // Not `sums[t % 4u] += value`: Microsoft's FXC refuses a vector component chosen by a value that is written to.
        sums += select(vec4(0.0), vec4(value), vec4(t % 4u) == vec4(0u, 1u, 2u, 3u));
        // `max` may ignore a NaN, but the sum keeps it, and NaN times a factor of 0 is NaN too.
        largest = max(largest, value);
    }
    let mean = ((sums.x + sums.y) + (sums.z + sums.w)) / f32(params.count);
    var pooled = mean;
    if params.of_max != 0.0 {
        pooled = params.of_mean * mean + params.of_max * largest;
    }
    y[image * params.ld + params.col + d] = E(pooled);
}
