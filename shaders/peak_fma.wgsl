// Measures how many multiply-adds per second the device can do: 16 chains of vec4s per invocation, no reads, one value written.
//
// Shapes:   y f32 [len].
// Bindings: 0 params; 1 y.
// Dispatch: 64 invocations a workgroup, one value each.
// Numerics: 128·rounds multiply-adds of two FLOP each per invocation, in 16 independent chains, so that none waits for another.
// CPU twin: none; it measures the device.

struct Params {
    len: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = vec4(0.5, 0.25, 0.125, 0.0625) * f32(id.x % 7u);
    let a = vec4(0.999) - 1e-6 * x;
    //# for i in 16
    var s${i} = x + f32(${i}u);
    //# end
    for (var round = 0u; round < params.rounds; round++) {
        //# for step in 2
        //# for i in 16
        s${i} = fma(s${i}, a, x);
        //# end
        //# end
    }
    var sum = vec4(0.0);
    //# for i in 16
    sum += s${i};
    //# end
    if id.x < params.len {
        y[id.x] = sum.x + sum.y + sum.z + sum.w;
    }
}
