// o = post_scale·softmax(scale·q·kᵀ)·v for each sequence and head, causal or not, fused, on cooperative matrices (matrix cores).
//
// Shapes:   q, k, v and o are [outer, tokens, heads·4·D4] seen through offset, outer stride and token stride (elements, all
//           multiples of 4); f16; any number of tokens.
// Bindings: 0 params; 1 q; 2 k; 3 v (all three may be the same tensor); 4 o.
// Dispatch: SUBS subgroups of SUB_LANES invocations take SIZE queries each; x: blocks of queries, y: heads, z: sequences.
// Constants in front of this text: LANES = SUBS·SUB_LANES, SUB_LANES, SUBS; SIZE, 8 or 16; MATS_D, matrices across a head;
//           MATS_K, matrices across a step of keys; D4, vec4s of a head; PARTS = SUB_LANES/SIZE, invocations that share a
//           query; OWN = MATS_K·SIZE/PARTS, keys of an invocation; K_LOADS and V_LOADS, how many loads of keys, and of four
//           values each, are under way at a time; O4, vec4s of a head per invocation, PARTS·O4·4 ≥ MATS_D·SIZE.
// Numerics: products of f16 summed in f32 on the matrix cores; online softmax (Milakov and Gimelshein 2018) in f32,
//           probabilities rounded to f16 for the second product; keys beyond the last get a finite score of −3e38.
// CPU twin: src/ops/attention.rs.
//
// Elements of a matrix can't be accessed directly. So scores and weighted values are written to workgroup memory, where invocations apply the
// softmax and keep the running sums of their queries in registers. Head widths are filled up with zeros to whole matrices. All tiles
// have along their rows what a product sums over (values lie transposed), so that matrices are loaded 128 bits at a time.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4<f16>>;

const QUERIES: u32 = SUBS * SIZE;
const KEYS: u32 = MATS_K * SIZE;
const WIDTH4: u32 = MATS_D * SIZE / 4u;
// The stride makes neighbouring rows start in different memory banks.
const STRIDE: u32 = MATS_D * SIZE + 8u;
const P_STRIDE: u32 = KEYS + 8u; // of probabilities, and of the values
const S_STRIDE: u32 = max(KEYS, MATS_D * SIZE) + 4u;

var<workgroup> q_tile: array<f16, QUERIES * STRIDE>;
var<workgroup> kv_tile: array<f16, max(KEYS * STRIDE, MATS_D * SIZE * P_STRIDE)>;
var<workgroup> p_tile: array<f16, QUERIES * P_STRIDE>;
var<workgroup> s_tile: array<f32, QUERIES * S_STRIDE>;
var<workgroup> m_tile: array<f32, QUERIES * PARTS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let sub = lane / SUB_LANES;
    let part = lane % SUB_LANES % PARTS;
    let row = sub * SIZE + lane % SUB_LANES / PARTS;
    let head = group.y * D4;
    let q_at = (params.q_offset + params.q_outer * group.z) / 4u + head;
    let k_at = (params.k_offset + params.k_outer * group.z) / 4u + head;
    let v_at = (params.v_offset + params.v_outer * group.z) / 4u + head;
    let o_at = (params.o_offset + params.o_outer * group.z) / 4u + head;
    let first_query = group.x * QUERIES;
    let last_query = params.q_len - 1u;
    let last_key = params.kv_len - 1u;
    let s_stride = S_STRIDE;
    let scale = params.scale * 1.442695; // exp(x) = exp2(x·log2(e))

    for (var i = lane; i < QUERIES * WIDTH4; i += LANES) {
        let line = min(first_query + i / WIDTH4, last_query);
        let e = i % WIDTH4;
        let value = select(vec4(0.0h), q[q_at + line * (params.q_seq / 4u) + min(e, D4 - 1u)], e < D4);
        let at = i / WIDTH4 * STRIDE + 4u * e;
        q_tile[at] = value.x;
        q_tile[at + 1u] = value.y;
        q_tile[at + 2u] = value.z;
        q_tile[at + 3u] = value.w;
    }
    var highest = LOWEST;
    var norm = 0.0;
    //# for e in O4
    var acc${e} = vec4(0.0);
    //# end

    for (var first = 0u; first < params.kv_len; first += KEYS) {
        for (var turn = 0u; turn < (KEYS * WIDTH4 + K_LOADS * LANES - 1u) / (K_LOADS * LANES); turn++) {
            //# for l in K_LOADS
            let i${l} = min((turn * K_LOADS + ${l}u) * LANES + lane, KEYS * WIDTH4 - 1u);
            let e${l} = i${l} % WIDTH4;
            let key${l} = k_at + min(first + i${l} / WIDTH4, last_key) * (params.k_seq / 4u);
            let value${l} = select(vec4(0.0h), k[key${l} + min(e${l}, D4 - 1u)], e${l} < D4);
            //# end
            //# for l in K_LOADS
            let at${l} = i${l} / WIDTH4 * STRIDE + 4u * e${l};
            //# for d in 4
            kv_tile[at${l} + ${d}u] = value${l}[${d}];
            //# end
            //# end
        }
        workgroupBarrier();
        // The transpose of k is its tile read by columns.
        //# for c in MATS_K
        var score${c} = coop_mat${SIZE}x${SIZE}<f32, C>();
        //# end
        //# for d in MATS_D
        let q${d} = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, A>>(&q_tile[sub * SIZE * STRIDE + ${d}u * SIZE], STRIDE);
        //# for c in MATS_K
        let k${d}_${c} = coopLoad<coop_mat${SIZE}x${SIZE}<f16, B>>(&kv_tile[${c}u * SIZE * STRIDE + ${d}u * SIZE], STRIDE);
        score${c} = coopMultiplyAdd(q${d}, k${d}_${c}, score${c});
        //# end
        //# end
        //# for c in MATS_K
        {
            let value = score${c};
            let at = sub * SIZE * S_STRIDE + ${c}u * SIZE;
            coopStoreT(value, &s_tile[at], s_stride);
        }
        //# end
        workgroupBarrier();
        // The values of four keys at a time, transposed.
        for (var turn = 0u; turn < (KEYS / 4u * WIDTH4 + V_LOADS * LANES - 1u) / (V_LOADS * LANES); turn++) {
            //# for l in V_LOADS
            let i${l} = min((turn * V_LOADS + ${l}u) * LANES + lane, KEYS / 4u * WIDTH4 - 1u);
            let key${l} = i${l} % (KEYS / 4u) * 4u;
            let e${l} = i${l} / (KEYS / 4u);
            //# for j in 4
            let row${l}_${j} = v_at + min(first + key${l} + ${j}u, last_key) * (params.v_seq / 4u);
            let value${l}_${j} = select(vec4(0.0h), v[row${l}_${j} + min(e${l}, D4 - 1u)], e${l} < D4);
            //# end
            //# end
            //# for l in V_LOADS
            //# for d in 4
            //# for j in 4
            kv_tile[(4u * e${l} + ${d}u) * P_STRIDE + key${l} + ${j}u] = value${l}_${j}[${d}];
            //# end
            //# end
            //# end
        }
        // Each invocation that shares a query has some of the keys: their maximum, then their probabilities and its part of the norm.
        let keys = min(KEYS, max(last_seen(first_query + row, last_key) + 1u, first) - first);
        let own = row * S_STRIDE + part * OWN;
        var step_highest = highest;
        //# for j in OWN
        let s${j} = select(LOWEST, scale * s_tile[own + ${j}u], part * OWN + ${j}u < keys);
        step_highest = max(step_highest, s${j});
        //# end
        m_tile[row * PARTS + part] = step_highest;
        workgroupBarrier();
        //# for j in PARTS
        step_highest = max(step_highest, m_tile[row * PARTS + ${j}u]);
        //# end
        let shrink = exp2(highest - step_highest);
        highest = step_highest;
        norm *= shrink;
        //# for j in OWN
        let mine${j} = exp2(s${j} - highest);
        norm += mine${j};
        p_tile[row * P_STRIDE + part * OWN + ${j}u] = f16(mine${j});
        //# end
        workgroupBarrier();
        //# for c in MATS_K
        let p${c} = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, A>>(&p_tile[sub * SIZE * P_STRIDE + ${c}u * SIZE], P_STRIDE);
        //# end
        //# for d in MATS_D
        {
            var mixed = coop_mat${SIZE}x${SIZE}<f32, C>();
            //# for c in MATS_K
            let v${c} = coopLoad<coop_mat${SIZE}x${SIZE}<f16, B>>(&kv_tile[${d}u * SIZE * P_STRIDE + ${c}u * SIZE], P_STRIDE);
            mixed = coopMultiplyAdd(p${c}, v${c}, mixed);
            //# end
            let value = mixed;
            let at = sub * SIZE * S_STRIDE + ${d}u * SIZE;
            coopStoreT(value, &s_tile[at], s_stride);
        }
        //# end
        workgroupBarrier();
        //# for e in O4
        {
            let at = row * S_STRIDE + 4u * min(${e}u * PARTS + part, WIDTH4 - 1u);
            acc${e} = fma(acc${e}, vec4(shrink), vec4(s_tile[at], s_tile[at + 1u], s_tile[at + 2u], s_tile[at + 3u]));
        }
        //# end
    }

    // The tile of the scores is free now. Each invocation writes its sum there, and those that share a query add their sums up.
    workgroupBarrier();
    s_tile[row * S_STRIDE + part] = norm;
    workgroupBarrier();
    var total = 0.0;
    for (var j = 0u; j < PARTS; j++) {
        total += s_tile[row * S_STRIDE + j];
    }
    if first_query + row <= last_query {
        let weight = params.post_scale / total;
        let o_row = o_at + (first_query + row) * (params.o_seq / 4u);
        //# for e in O4
        if ${e}u * PARTS + part < D4 { o[o_row + ${e}u * PARTS + part] = vec4<f16>(acc${e} * weight); }
        //# end
    }
}
