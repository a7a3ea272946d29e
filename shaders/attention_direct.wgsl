// o = post_scale·softmax(scale·q·kᵀ)·v for each sequence and head, causal or not, fused, without workgroup memory.
//
// Shapes:   q, k, v and o are [outer, tokens, heads·head_dim] seen through offset, outer stride and token stride (elements);
//           E; head_dim up to 4·D4, any number of tokens.
// Bindings: 0 params; 1 q; 2 k; 3 v (all three may be the same tensor); 4 o.
// Dispatch: LANES invocations take a query each; x: blocks of queries, y: heads, z: sequences.
// Constants in front of this text: LANES; D4, vec4s of a head.
// Numerics: f32 whatever E is; online softmax (Milakov and Gimelshein 2018), one rescale per step of four keys; keys beyond the last get
//           a finite score of −3e38, so no infinity appears.
// CPU twin: src/ops/attention.rs.
//
// For software adapters: they compile a shader with barriers as a coroutine whose frame holds every register (which takes seconds per
// shader), and their workgroup memory is memory like any other. Each invocation reads keys and values directly from their buffers.
// GPUs have no registers that an index can choose, and would keep queries and sums in memory.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<E>;
@group(0) @binding(2) var<storage, read> k: array<E>;
@group(0) @binding(3) var<storage, read> v: array<E>;
@group(0) @binding(4) var<storage, read_write> o: array<E>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = group.x * LANES + lane;
    if query >= params.q_len {
        return;
    }
    let head = group.y * params.head_dim;
    let q_row = params.q_offset + params.q_outer * group.z + head + query * params.q_seq;
    let k_at = params.k_offset + params.k_outer * group.z + head;
    let v_at = params.v_offset + params.v_outer * group.z + head;
    let last_key = last_seen(query, params.kv_len - 1u);

    var q_reg: array<vec4<f32>, D4>;
    var acc: array<vec4<f32>, D4>;
    for (var e = 0u; e < D4; e++) {
        // Dimensions beyond the width of the head read its last one, with a weight of 0.
        let d = 4u * e + vec4(0u, 1u, 2u, 3u);
        let at = q_row + min(d, vec4(params.head_dim - 1u));
        q_reg[e] = select(vec4(0.0), params.scale * vec4<f32>(E4(q[at.x], q[at.y], q[at.z], q[at.w])), d < vec4(params.head_dim));
        acc[e] = vec4(0.0);
    }
    var highest = LOWEST;
    var norm = 0.0;
    for (var first = 0u; first <= last_key; first += 4u) {
        let keys = first + vec4(0u, 1u, 2u, 3u);
        let rows = min(keys, vec4(last_key));
        let k_rows = k_at + rows * params.k_seq;
        var score = vec4(0.0);
        for (var e = 0u; e < D4; e++) {
            let d = min(4u * e + vec4(0u, 1u, 2u, 3u), vec4(params.head_dim - 1u));
            let mine = q_reg[e];
            for (var i = 0u; i < 4u; i++) {
                let at = k_rows + d[i];
                score = fma(vec4(mine[i]), vec4<f32>(E4(k[at.x], k[at.y], k[at.z], k[at.w])), score);
            }
        }
        score = select(vec4(LOWEST), score, keys <= vec4(last_key));
        let step_highest = max(highest, max(max(score.x, score.y), max(score.z, score.w)));
        let shrink = exp(highest - step_highest);
        highest = step_highest;
        let p = exp(score - highest);
        norm = norm * shrink + ((p.x + p.y) + (p.z + p.w));
        let v_rows = v_at + rows * params.v_seq;
        for (var e = 0u; e < D4; e++) {
            let d = min(4u * e + vec4(0u, 1u, 2u, 3u), vec4(params.head_dim - 1u));
            var sum = acc[e] * shrink;
            for (var j = 0u; j < 4u; j++) {
                let at = v_rows[j] + d;
                sum = fma(vec4(p[j]), vec4<f32>(E4(v[at.x], v[at.y], v[at.z], v[at.w])), sum);
            }
            acc[e] = sum;
        }
    }

    let scale = params.post_scale / norm;
    let o_row = params.o_offset + params.o_outer * group.z + head + query * params.o_seq;
    for (var d = 0u; d < params.head_dim; d++) {
        o[o_row + d] = E(acc[d / 4u][d % 4u] * scale);
    }
}
