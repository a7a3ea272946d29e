// y = softmax(scale·q·kᵀ) for each sequence and head: the probabilities themselves.
//
// Shapes:   q and k are [outer, tokens, heads·head_dim] seen through offset, outer stride and token stride (elements); y [outer, heads,
//           q_len, kv_len]; E.
// Bindings: 0 params; 1 q; 2 k (both may be the same tensor); 3 y.
// Dispatch: 64 invocations take a query each; x: blocks of queries, y: heads, z: sequences.
// Numerics: f32 whatever E is. The scores are computed twice: first for the largest one and the sum (Milakov and Gimelshein 2018), then
//           for the probabilities, so that nothing is rounded to E in between.
// CPU twin: src/ops/attention_map.rs.

struct Params {
    heads: u32,
    head_dim: u32,
    q_len: u32,
    kv_len: u32,
    scale: f32,
    q_offset: u32,
    q_outer: u32,
    q_seq: u32,
    k_offset: u32,
    k_outer: u32,
    k_seq: u32,
}

// The score of a key beyond the last one. It is finite, because infinities are unreliable under fast math.
const LOWEST: f32 = -3e38;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<E>;
@group(0) @binding(2) var<storage, read> k: array<E>;
@group(0) @binding(3) var<storage, read_write> y: array<E>;

// The scores of four keys from `first` on.
fn scores(q_row: u32, k_at: u32, first: u32) -> vec4<f32> {
    let keys = first + vec4(0u, 1u, 2u, 3u);
    let rows = k_at + min(keys, vec4(params.kv_len - 1u)) * params.k_seq;
    var score = vec4(0.0);
    for (var d = 0u; d < params.head_dim; d++) {
        let at = rows + d;
        score = fma(vec4(params.scale * f32(q[q_row + d])), vec4<f32>(E4(k[at.x], k[at.y], k[at.z], k[at.w])), score);
    }
    return select(vec4(LOWEST), score, keys < vec4(params.kv_len));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = group.x * 64u + lane;
    if query >= params.q_len {
        return;
    }
    let head = group.y * params.head_dim;
    let q_row = params.q_offset + params.q_outer * group.z + head + query * params.q_seq;
    let k_at = params.k_offset + params.k_outer * group.z + head;

    var highest = LOWEST;
    var norm = 0.0;
    for (var first = 0u; first < params.kv_len; first += 4u) {
        let score = scores(q_row, k_at, first);
        let step_highest = max(highest, max(max(score.x, score.y), max(score.z, score.w)));
        let p = exp(score - step_highest);
        norm = norm * exp(highest - step_highest) + ((p.x + p.y) + (p.z + p.w));
        highest = step_highest;
    }

    let y_row = ((group.z * params.heads + group.y) * params.q_len + query) * params.kv_len;
    for (var first = 0u; first < params.kv_len; first += 4u) {
        let p = exp(scores(q_row, k_at, first) - highest) / norm;
        for (var j = 0u; j < 4u; j++) {
            if first + j < params.kv_len {
                y[y_row + first + j] = E(p[j]);
            }
        }
    }
}
