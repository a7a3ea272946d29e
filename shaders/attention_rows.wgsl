// o = post_scale·softmax(scale·q·kᵀ)·v for each sequence and head, causal or not, fused, a few queries at a time: for GPUs, and
// heads of any width.
//
// Shapes:   q, k, v and o are [outer, tokens, heads·head_dim] seen through offset, outer stride and token stride (elements); E;
//           any number of tokens. All of these and head_dim are multiples of PIECE.
// Bindings: 0 params; 1 q; 2 k; 3 v (all three may be the same tensor); 4 o.
// Dispatch: 64 invocations take 4 queries; x: blocks of queries, y: heads, z: sequences.
// Constants in front of this text: PIECE, values that are loaded at a time, 4 (FOURS = 1, ONES = 0) or 1; COLS, pieces of a head per
//           invocation, 64·COLS·PIECE ≥ head_dim.
// Numerics: f32 whatever E is; online softmax (Milakov and Gimelshein 2018), one rescale per step of 64 keys; keys beyond the last get
//           a finite score of −3e38, so no infinity appears. Workgroup memory: 2,176 bytes.
// CPU twin: src/ops/attention.rs.
//
// Each invocation scores one key of a step against the 4 queries, whose scores are a vec4. Then it sums pieces lane, 64 + lane, … of the
// output over all keys of the step. So no invocation holds a whole head, however wide it is.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Piece>;
@group(0) @binding(2) var<storage, read> k: array<Piece>;
@group(0) @binding(3) var<storage, read> v: array<Piece>;
@group(0) @binding(4) var<storage, read_write> o: array<Piece>;

//# for layout in FOURS
alias Piece = E4;
alias Wide = vec4<f32>;

fn product(a: Piece, b: Wide) -> f32 {
    return dot(Wide(a), b);
}
//# end
//# for layout in ONES
alias Piece = E;
alias Wide = f32;

fn product(a: Piece, b: Wide) -> f32 {
    return Wide(a) * b;
}
//# end

const LANES: u32 = 64u;

var<workgroup> p_tile: array<vec4<f32>, LANES>;
var<workgroup> partial: array<vec4<f32>, LANES>;
var<workgroup> eighths: array<vec4<f32>, 8>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pieces = params.head_dim / PIECE;
    let head = group.y * pieces;
    let q_at = (params.q_offset + params.q_outer * group.z) / PIECE + head;
    let k_at = (params.k_offset + params.k_outer * group.z) / PIECE + head;
    let v_at = (params.v_offset + params.v_outer * group.z) / PIECE + head;
    let o_at = (params.o_offset + params.o_outer * group.z) / PIECE + head;
    let first_query = group.x * 4u;
    let last_query = params.q_len - 1u;
    let last_key = params.kv_len - 1u;

    // Queries beyond the last one compute the last one again and are not stored.
    //# for r in 4
    let query${r} = min(first_query + ${r}u, last_query);
    let q_row${r} = q_at + query${r} * (params.q_seq / PIECE);
    //# end
    let last_keys = vec4(last_seen(query0, last_key), last_seen(query1, last_key), last_seen(query2, last_key), last_seen(query3, last_key));
    var highest = vec4(LOWEST);
    var norm = vec4(0.0);
    //# for c in COLS
    let col${c} = min(${c}u * LANES + lane, pieces - 1u);
    //# for r in 4
    var acc${r}_${c} = Wide();
    //# end
    //# end

    let end = last_keys.w + 1u;
    for (var first = 0u; first < end; first += LANES) {
        let k_row = k_at + min(first + lane, last_key) * (params.k_seq / PIECE);
        var score = vec4(0.0);
        for (var e = 0u; e < pieces; e++) {
            let key = Wide(k[k_row + e]);
            score += vec4(product(q[q_row0 + e], key), product(q[q_row1 + e], key), product(q[q_row2 + e], key), product(q[q_row3 + e], key));
        }
        score = select(vec4(LOWEST), params.scale * score, vec4(first + lane) <= last_keys);
        partial[lane] = score;
        workgroupBarrier();
        var most = highest;
        //# for j in 8
        most = max(most, partial[lane % 8u + 8u * ${j}u]);
        //# end
        if lane < 8u {
            eighths[lane] = most;
        }
        workgroupBarrier();
        //# for j in 8
        most = max(most, eighths[${j}]);
        //# end
        let shrink = exp(highest - most);
        highest = most;
        let mine = exp(score - highest);
        norm = norm * shrink + mine;
        p_tile[lane] = mine;
        //# for c in COLS
        //# for r in 4
        acc${r}_${c} *= shrink[${r}];
        //# end
        //# end
        workgroupBarrier();
        for (var j = 0u; j < min(LANES, end - first); j++) {
            let p = p_tile[j];
            let v_row = v_at + (first + j) * (params.v_seq / PIECE);
            //# for c in COLS
            let v${c} = Wide(v[v_row + col${c}]);
            //# for r in 4
            acc${r}_${c} = fma(Wide(p[${r}]), v${c}, acc${r}_${c});
            //# end
            //# end
        }
        // The next step writes to `partial`, which was read before the last barrier, and waits before it writes to the others.
    }

    partial[lane] = norm;
    workgroupBarrier();
    var total = vec4(0.0);
    for (var j = 0u; j < LANES; j++) {
        total += partial[j];
    }
    let weight = params.post_scale / total;
    //# for r in 4
    if first_query + ${r}u <= last_query {
        let o_row = o_at + query${r} * (params.o_seq / PIECE);
        //# for c in COLS
        if ${c}u * LANES + lane < pieces { o[o_row + ${c}u * LANES + lane] = Piece(acc${r}_${c} * weight[${r}]); }
        //# end
    }
    //# end
}
