// y[b, patch, (c, py, px)] = pixels[b, c, y, x]: cuts patches from planes that are already normalised.
//
// Shapes:   pixels f32 [batch, chans, height, width]; y E [batch, N, chans·ph·pw].
// Bindings: 0 params; 1 pixels; 2 y.
// Dispatch: 64 invocations, one output value each, counted along x, then y.
// Numerics: none; values are copied (rounded where E is f16).
// CPU twin: src/ops/unfold.rs.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<f32>;
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
    let pixel = pixel_of(at);
    y[at] = E(pixels[((pixel.image * params.chans + pixel.c) * params.height + pixel.y) * params.width + pixel.x]);
}
