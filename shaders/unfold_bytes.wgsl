// y[b, patch, (c, py, px)] = table[c][pixels[b, y, x, c]]: cuts patches from bytes and normalises them by table.
//
// Shapes:   pixels u8 [batch, height, width, chans] packed four to a word; table f32 [chans, 256]; y E [batch, N, chans·ph·pw].
// Bindings: 0 params; 1 pixels; 2 table; 3 y.
// Dispatch: 64 invocations, one output value each, counted along x, then y.
// Numerics: none; the table holds the model's own arithmetic, so every device gives the same bits.
// CPU twin: src/ops/unfold.rs.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
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
    let pixel = pixel_of(at);
    let byte = ((pixel.image * params.height + pixel.y) * params.width + pixel.x) * params.chans + pixel.c;
    let value = (pixels[byte / 4u] >> (8u * (byte % 4u))) & 0xffu;
    y[at] = E(table[pixel.c * 256u + value]);
}
