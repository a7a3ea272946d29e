// y[b, t] = (t < prefix ? prefix_tokens[t] : patches[b, t − prefix]) + pos[row of t].
//
// Shapes:   patches [batch, N, width]; prefix_tokens [prefix, width]; pos [pos_prefix + N, width];
//           y [batch, prefix + N, width]; E. Prefix tokens from pos_prefix on have no row in pos.
// Bindings: 0 params; 1 patches; 2 prefix_tokens; 3 pos; 4 y. An optional operand that is absent has a placeholder buffer, which is not read.
// Dispatch: 64 invocations, one output value each, counted along x, then y.
// Numerics: one f32 addition, whatever E is.
// CPU twin: src/ops/tokens.rs.

struct Params {
    len: u32, // output values
    patches: u32,
    width: u32,
    prefix: u32,
    pos_prefix: u32,
    pos: u32, // whether there is a position table
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> patches: array<E>;
@group(0) @binding(2) var<storage, read> prefix_tokens: array<E>;
@group(0) @binding(3) var<storage, read> pos: array<E>;
@group(0) @binding(4) var<storage, read_write> y: array<E>;

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
    let tokens = params.prefix + params.patches;
    let d = at % params.width;
    let t = at / params.width % tokens;
    let image = at / (params.width * tokens);
    if t < params.prefix {
        var value = f32(prefix_tokens[t * params.width + d]);
        if params.pos != 0u && t < params.pos_prefix {
            value += f32(pos[t * params.width + d]);
        }
        y[at] = E(value);
    } else {
        let cell = t - params.prefix;
        var value = f32(patches[(image * params.patches + cell) * params.width + d]);
        if params.pos != 0u {
            value += f32(pos[(params.pos_prefix + cell) * params.width + d]);
        }
        y[at] = E(value);
    }
}
