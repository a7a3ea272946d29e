// o = post_scale·softmax(scale·q·kᵀ)·v for each sequence and head, fused: no score is ever stored.
//
// Shapes:   q, k, v and o are [outer, tokens, heads·head_dim] seen through offset, outer stride and token stride (elements);
//           f32; head_dim up to 4·D4, any number of tokens.
// Bindings: 0 params; 1 q; 2 k; 3 v (one tensor may stand behind all three); 4 o.
// Dispatch: 64 invocations take 64 queries, one each; x: blocks of queries, y: heads, z: sequences.
// Constants in front of this text: D4, vec4s of a head; KEYS, keys of a step; 2·D4·KEYS·16 bytes of workgroup memory.
// Numerics: f32; online softmax (Milakov and Gimelshein 2018), one rescale per step of KEYS keys; keys beyond the last
//           get a finite score of −3e38, so no infinity appears.
// CPU twin: src/ops/attention.rs.


@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;

const QUERIES: u32 = 64u;

var<workgroup> k_tile: array<vec4<f32>, KEYS * D4>;
var<workgroup> v_tile: array<vec4<f32>, KEYS * D4>;

// Four values from dimension 4·e on; those beyond the head are 0.
fn load_q(at: u32, e: u32) -> vec4<f32> {
    let d = 4u * e;
    var value = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        if d + i < params.head_dim { value[i] = q[at + d + i]; }
    }
    return value;
}

@compute @workgroup_size(QUERIES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.y * params.head_dim;
    let q_at = params.q_offset + params.q_outer * group.z + head;
    let k_at = params.k_offset + params.k_outer * group.z + head;
    let v_at = params.v_offset + params.v_outer * group.z + head;
    let o_at = params.o_offset + params.o_outer * group.z + head;

    // Invocations beyond the last query only take part in the loads and the barriers.
    let query = group.x * QUERIES + lane;
    let has_query = query < params.q_len;
    let q_row = q_at + min(query, params.q_len - 1u) * params.q_seq;
    var q_reg: array<vec4<f32>, D4>;
    var acc: array<vec4<f32>, D4>;
    for (var e = 0u; e < D4; e++) {
        q_reg[e] = params.scale * load_q(q_row, e);
        acc[e] = vec4(0.0);
    }
    var highest = LOWEST;
    var norm = 0.0;

    for (var first = 0u; first < params.kv_len; first += KEYS) {
        workgroupBarrier();
        for (var i = lane; i < KEYS * D4; i += QUERIES) {
            let token = first + i / D4;
            let d = 4u * (i % D4);
            var k_value = vec4(0.0);
            var v_value = vec4(0.0);
            if token < params.kv_len {
                let k_row = k_at + token * params.k_seq + d;
                let v_row = v_at + token * params.v_seq + d;
                if d + 3u < params.head_dim {
                    k_value = vec4(k[k_row], k[k_row + 1u], k[k_row + 2u], k[k_row + 3u]);
                    v_value = vec4(v[v_row], v[v_row + 1u], v[v_row + 2u], v[v_row + 3u]);
                } else {
                    for (var j = 0u; d + j < params.head_dim; j++) {
                        k_value[j] = k[k_row + j];
                        v_value[j] = v[v_row + j];
                    }
                }
            }
            k_tile[i] = k_value;
            v_tile[i] = v_value;
        }
        workgroupBarrier();

        if has_query {
            var score: array<f32, KEYS>;
            var step_highest = highest;
            for (var j = 0u; j < KEYS; j++) {
                var dot4 = vec4(0.0);
                for (var e = 0u; e < D4; e++) {
                    dot4 = fma(q_reg[e], k_tile[j * D4 + e], dot4);
                }
                let sum = (dot4.x + dot4.y) + (dot4.z + dot4.w);
                score[j] = select(LOWEST, sum, first + j < params.kv_len);
                step_highest = max(step_highest, score[j]);
            }
            let shrink = exp(highest - step_highest);
            highest = step_highest;
            norm *= shrink;
            for (var e = 0u; e < D4; e++) {
                acc[e] *= shrink;
            }
            for (var j = 0u; j < KEYS; j++) {
                let p = exp(score[j] - highest);
                norm += p;
                for (var e = 0u; e < D4; e++) {
                    acc[e] = fma(vec4(p), v_tile[j * D4 + e], acc[e]);
                }
            }
        }
    }

    if has_query {
        let scale = params.post_scale / norm;
        let o_row = o_at + query * params.o_seq;
        for (var d = 0u; d < params.head_dim; d++) {
            o[o_row + d] = acc[d / 4u][d % 4u] * scale;
        }
    }
}
