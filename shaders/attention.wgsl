// o = post_scale·softmax(scale·q·kᵀ)·v for each sequence and head, causal or not, fused, tiled through workgroup memory: for GPUs.
//
// Shapes:   q, k, v and o are [outer, tokens, heads·4·D4] seen through offset, outer stride and token stride (elements, all
//           multiples of 4); E; any number of tokens.
// Bindings: 0 params; 1 q; 2 k; 3 v (all three may be the same tensor); 4 o.
// Dispatch: 64 invocations take 8·ROWS queries; x: blocks of queries, y: heads, z: sequences.
// Constants in front of this text: D4, vec4s of a head; ROWS, queries of an invocation; COLS4, vec4s of a head per
//           invocation, 8·COLS4 ≥ D4.
// Numerics: f32 for every E; online softmax (Milakov and Gimelshein 2018), one rescale per step of 32 keys; keys beyond
//           the last get a finite score of −3e38, so no infinity appears. Workgroup memory:
//           16·(8·ROWS + 32)·(D4 + 1) + 1,280·ROWS bytes.
// CPU twin: src/ops/attention.rs.
//
// Invocation (y, x) of 8×8 scores queries y, 8 + y, … against keys x, 8 + x, 16 + x and 24 + x of a step, and sums vec4
// columns x, 8 + x, … of the output for the same queries. One tile of workgroup memory holds first the keys, then the values.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<E4>;
@group(0) @binding(2) var<storage, read> k: array<E4>;
@group(0) @binding(3) var<storage, read> v: array<E4>;
@group(0) @binding(4) var<storage, read_write> o: array<E4>;

const KEYS: u32 = 32u;
const QUERIES: u32 = 8u * ROWS;
const STRIDE: u32 = D4 + 1u; // neighbouring rows start in different banks

var<workgroup> q_tile: array<vec4<f32>, QUERIES * STRIDE>;
var<workgroup> kv_tile: array<vec4<f32>, KEYS * STRIDE>;
var<workgroup> p_tile: array<vec4<f32>, QUERIES * 8u>;
var<workgroup> partial: array<f32, QUERIES * 8u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let lane_x = lane % 8u;
    let lane_y = lane / 8u;
    let head = group.y * D4;
    let q_at = (params.q_offset + params.q_outer * group.z) / 4u + head;
    let k_at = (params.k_offset + params.k_outer * group.z) / 4u + head;
    let v_at = (params.v_offset + params.v_outer * group.z) / 4u + head;
    let o_at = (params.o_offset + params.o_outer * group.z) / 4u + head;
    let first_query = group.x * QUERIES;
    let last_query = params.q_len - 1u;
    let last_key = params.kv_len - 1u;

    // Invocations whose query, key or column is beyond the last one compute the last one again.
    for (var i = lane; i < QUERIES * D4; i += 64u) {
        let row = min(first_query + i / D4, last_query);
        q_tile[i / D4 * STRIDE + i % D4] = params.scale * vec4<f32>(q[q_at + row * (params.q_seq / 4u) + i % D4]);
    }
    //# for c in COLS4
    let col${c} = min(${c}u * 8u + lane_x, D4 - 1u);
    //# end
    //# for r in ROWS
    let row${r} = ${r}u * 8u + lane_y;
    let last_key${r} = last_seen(first_query + row${r}, last_key);
    var highest${r} = LOWEST;
    var norm${r} = 0.0;
    //# for c in COLS4
    var acc${r}_${c} = vec4(0.0);
    //# end
    //# end

    for (var first = 0u; first < params.kv_len; first += KEYS) {
        for (var i = lane; i < KEYS * D4; i += 64u) {
            let key = min(first + i / D4, last_key);
            kv_tile[i / D4 * STRIDE + i % D4] = vec4<f32>(k[k_at + key * (params.k_seq / 4u) + i % D4]);
        }
        workgroupBarrier();
        //# for r in ROWS
        var s${r} = vec4(0.0);
        //# end
        for (var e = 0u; e < D4; e++) {
            //# for c in 4
            let k${c} = kv_tile[(${c}u * 8u + lane_x) * STRIDE + e];
            //# end
            //# for r in ROWS
            let q${r} = q_tile[row${r} * STRIDE + e];
            s${r} += vec4(dot(q${r}, k0), dot(q${r}, k1), dot(q${r}, k2), dot(q${r}, k3));
            //# end
        }
        let keys = first + lane_x + vec4(0u, 8u, 16u, 24u);
        //# for r in ROWS
        s${r} = select(vec4(LOWEST), s${r}, keys <= vec4(last_key${r}));
        partial[row${r} * 8u + lane_x] = max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w));
        //# end
        workgroupBarrier();
        for (var i = lane; i < KEYS * D4; i += 64u) {
            let key = min(first + i / D4, last_key);
            kv_tile[i / D4 * STRIDE + i % D4] = vec4<f32>(v[v_at + key * (params.v_seq / 4u) + i % D4]);
        }
        //# for r in ROWS
        var step_highest${r} = highest${r};
        //# for j in 8
        step_highest${r} = max(step_highest${r}, partial[row${r} * 8u + ${j}u]);
        //# end
        let shrink${r} = exp(highest${r} - step_highest${r});
        highest${r} = step_highest${r};
        let mine${r} = exp(s${r} - highest${r});
        norm${r} = norm${r} * shrink${r} + ((mine${r}.x + mine${r}.y) + (mine${r}.z + mine${r}.w));
        p_tile[row${r} * 8u + lane_x] = mine${r};
        //# for c in COLS4
        acc${r}_${c} *= shrink${r};
        //# end
        //# end
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) {
            //# for r in ROWS
            let p${r} = p_tile[row${r} * 8u + j];
            //# end
            //# for i in 4
            //# for c in COLS4
            let v${i}_${c} = kv_tile[(${i}u * 8u + j) * STRIDE + col${c}];
            //# for r in ROWS
            acc${r}_${c} = fma(vec4(p${r}[${i}]), v${i}_${c}, acc${r}_${c});
            //# end
            //# end
            //# end
        }
        workgroupBarrier();
    }

    //# for r in ROWS
    partial[row${r} * 8u + lane_x] = norm${r};
    //# end
    workgroupBarrier();
    //# for r in ROWS
    if first_query + row${r} <= last_query {
        var total = 0.0;
        //# for j in 8
        total += partial[row${r} * 8u + ${j}u];
        //# end
        let scale = params.post_scale / total;
        let o_row = o_at + (first_query + row${r}) * (params.o_seq / 4u);
        //# for c in COLS4
        if ${c}u * 8u + lane_x < D4 { o[o_row + ${c}u * 8u + lane_x] = E4(acc${r}_${c} * scale); }
        //# end
    }
    //# end
}
