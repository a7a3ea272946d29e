// y = residual + gamma ⊙ act(x·W + bias), in registers, with rows shared by subgroup broadcasts: for software adapters.
//
// Shapes:   x [m, k], W [k, n] (transposed at upload), y [m, n] inside rows of ld; k, n, ld, y_col multiples of 4, m any.
// Bindings: common/linear_vec4.wgsl.
// Dispatch: 8 invocations, one subgroup, make a tile of 8·BLOCKS rows × 8 vec4 columns, each one vec4 of every row;
//           x: tiles of rows, y: tiles of columns. Subgroups must be exactly 8 wide.
// Constants in front of this text: BLOCKS, rows by eights.
// Numerics: f32 sums in order of k by fused multiply-add, whatever E is. No workgroup memory.
// CPU twin: src/ops/linear.rs.
//
// On a software adapter, each memory instruction costs time for each lane. So each invocation loads one vec4 of one row in eight, and
// broadcasts share the rows. The lane of a broadcast must be a constant, so the loops are unrolled in the text.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k4 = params.k / 4u;
    let n4 = params.n / 4u;
    let first_row = group.x * (8u * BLOCKS);
    let col4 = group.y * 8u + lane;
    // Rows and columns beyond the edge are computed from the last valid ones and not stored: no branch in the loop.
    let last_row = params.m - 1u;
    let w_col4 = min(col4, n4 - 1u);
    //# for b in BLOCKS
    let x_row${b} = (params.x_row + min(first_row + 8u * ${b}u + lane, last_row)) * k4;
    //# for r in 8
    var acc${b}_${r} = vec4(0.0);
    //# end
    //# end
    for (var i = 0u; i < k4; i++) {
        let w = i * 4u * n4 + w_col4;
        let w0 = vec4<f32>(weight[w]);
        let w1 = vec4<f32>(weight[w + n4]);
        let w2 = vec4<f32>(weight[w + 2u * n4]);
        let w3 = vec4<f32>(weight[w + 3u * n4]);
        //# for b in BLOCKS
        let rows${b} = vec4<f32>(x[x_row${b} + i]);
        //# for r in 8
        let x${b}_${r} = subgroupBroadcast(rows${b}, ${r}u);
        acc${b}_${r} = fma(vec4(x${b}_${r}.x), w0, acc${b}_${r});
        acc${b}_${r} = fma(vec4(x${b}_${r}.y), w1, acc${b}_${r});
        acc${b}_${r} = fma(vec4(x${b}_${r}.z), w2, acc${b}_${r});
        acc${b}_${r} = fma(vec4(x${b}_${r}.w), w3, acc${b}_${r});
        //# end
        //# end
    }
    if col4 >= n4 { return; }
    //# for b in BLOCKS
    //# for r in 8
    if first_row + 8u * ${b}u + ${r}u <= last_row { store(first_row + 8u * ${b}u + ${r}u, col4, acc${b}_${r}); }
    //# end
    //# end
}
