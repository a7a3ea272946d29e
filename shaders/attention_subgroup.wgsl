// o = post_scale·softmax(scale·q·kᵀ)·v for each sequence and head, causal or not, fused, in registers, keys and values
// shared by subgroup broadcasts: for software adapters.
//
// Shapes:   q, k, v and o are [outer, tokens, heads·4·D4] seen through offset, outer stride and token stride (elements, all
//           multiples of 4); E; any number of tokens.
// Bindings: 0 params; 1 q; 2 k; 3 v (all three may be the same tensor); 4 o.
// Dispatch: 8 invocations, one subgroup, take 8·ROWS queries; x: blocks of queries, y: heads, z: sequences. Subgroups must be
//           exactly 8 wide.
// Constants in front of this text: D4, vec4s of a head; ROWS, queries of an invocation.
// Numerics: f32 whatever E is; online softmax (Milakov and Gimelshein 2018), one rescale per step of eight keys; keys beyond
//           the last get a finite score of −3e38, so no infinity appears.
// CPU twin: src/ops/attention.rs.
//
// A software adapter pays per memory instruction, and compiles a shader with barriers as a coroutine whose frame holds every
// register (seconds per shader). So each invocation loads one of eight keys and one of eight values, and broadcasts share them,
// each for ROWS queries. Indexing an array would be a slow gather, so the loops are unrolled in the text.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<E4>;
@group(0) @binding(2) var<storage, read> k: array<E4>;
@group(0) @binding(3) var<storage, read> v: array<E4>;
@group(0) @binding(4) var<storage, read_write> o: array<E4>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.y * D4;
    let q_at = (params.q_offset + params.q_outer * group.z) / 4u + head;
    let k_at = (params.k_offset + params.k_outer * group.z) / 4u + head;
    let v_at = (params.v_offset + params.v_outer * group.z) / 4u + head;
    let o_at = (params.o_offset + params.o_outer * group.z) / 4u + head;
    let last_query = params.q_len - 1u;
    let last_key = params.kv_len - 1u;

    // Queries beyond the last one compute the last one again and are not stored.
    //# for r in ROWS
    let query${r} = (group.x * ROWS + ${r}u) * 8u + lane;
    let last_key${r} = last_seen(query${r}, last_key);
    let q_row${r} = q_at + min(query${r}, last_query) * (params.q_seq / 4u);
    var highest${r} = LOWEST;
    var norm${r} = 0.0;
    //# for e in D4
    let q${r}_${e} = params.scale * vec4<f32>(q[q_row${r} + ${e}u]);
    var acc${r}_${e} = vec4(0.0);
    //# end
    //# end
    for (var first = 0u; first < params.kv_len; first += 8u) {
        let key = min(first + lane, last_key);
        let k_row = k_at + key * (params.k_seq / 4u);
        let v_row = v_at + key * (params.v_seq / 4u);
        //# for r in ROWS
        //# for j in 8
        var s${r}_${j} = 0.0;
        //# end
        //# end
        //# for e in D4
        let keys${e} = vec4<f32>(k[k_row + ${e}u]);
        //# for j in 8
        let k${e}_${j} = subgroupBroadcast(keys${e}, ${j}u);
        //# for r in ROWS
        s${r}_${j} = fma(q${r}_${e}.x, k${e}_${j}.x, s${r}_${j});
        s${r}_${j} = fma(q${r}_${e}.y, k${e}_${j}.y, s${r}_${j});
        s${r}_${j} = fma(q${r}_${e}.z, k${e}_${j}.z, s${r}_${j});
        s${r}_${j} = fma(q${r}_${e}.w, k${e}_${j}.w, s${r}_${j});
        //# end
        //# end
        //# end
        //# for r in ROWS
        var step_highest${r} = highest${r};
        //# for j in 8
        s${r}_${j} = select(LOWEST, s${r}_${j}, first + ${j}u <= last_key${r});
        step_highest${r} = max(step_highest${r}, s${r}_${j});
        //# end
        let shrink${r} = exp(highest${r} - step_highest${r});
        highest${r} = step_highest${r};
        norm${r} *= shrink${r};
        //# for j in 8
        let p${r}_${j} = exp(s${r}_${j} - highest${r});
        norm${r} += p${r}_${j};
        //# end
        //# end
        //# for e in D4
        //# for r in ROWS
        acc${r}_${e} *= shrink${r};
        //# end
        let values${e} = vec4<f32>(v[v_row + ${e}u]);
        //# for j in 8
        let v${e}_${j} = subgroupBroadcast(values${e}, ${j}u);
        //# for r in ROWS
        acc${r}_${e} = fma(vec4(p${r}_${j}), v${e}_${j}, acc${r}_${e});
        //# end
        //# end
        //# end
    }
    //# for r in ROWS
    if query${r} <= last_query {
        let scale = params.post_scale / norm${r};
        let o_row = o_at + query${r} * (params.o_seq / 4u);
        //# for e in D4
        o[o_row + ${e}u] = E4(acc${r}_${e} * scale);
        //# end
    }
    //# end
}
