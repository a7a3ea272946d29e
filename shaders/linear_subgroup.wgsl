// y = residual + gamma ⊙ act(x·W + bias), for software adapters: register tile and subgroup broadcasts.
//
// Shapes:   x [m, k], W [k, n] (transposed at upload), y [m, n] inside rows of ld; k, n, ld, y_col multiples of 4, m any.
// Bindings: common/linear_vec4.wgsl.
// Dispatch: one subgroup of 8 makes 16 rows × 32 columns; x: blocks of rows, y: blocks of columns.
//           The subgroup size must be 8 on the adapter; nothing else is assumed of it.
// Numerics: f32 throughout, sums in order of k by fused multiply-add. No workgroup memory.
// CPU twin: src/ops/linear.rs.
//
// A software adapter pays per memory instruction and per lane. So each invocation loads one vec4 of two rows of x, and
// the rows are handed round by broadcast; the lane of a broadcast must be constant, hence the unrolled text.

const ROWS: u32 = 16u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k4 = params.k / 4u;
    let n4 = params.n / 4u;
    let first_row = group.x * ROWS;
    let col4 = group.y * 8u + lane;
    // Rows and columns beyond the edge are computed from the last valid ones and not stored: no branch in the loop.
    let last_row = params.m - 1u;
    let x_low = (params.x_row + min(first_row + lane, last_row)) * k4;
    let x_high = (params.x_row + min(first_row + 8u + lane, last_row)) * k4;
    let w_col4 = min(col4, n4 - 1u);

    var acc0 = vec4(0.0);
    var acc1 = vec4(0.0);
    var acc2 = vec4(0.0);
    var acc3 = vec4(0.0);
    var acc4 = vec4(0.0);
    var acc5 = vec4(0.0);
    var acc6 = vec4(0.0);
    var acc7 = vec4(0.0);
    var acc8 = vec4(0.0);
    var acc9 = vec4(0.0);
    var acc10 = vec4(0.0);
    var acc11 = vec4(0.0);
    var acc12 = vec4(0.0);
    var acc13 = vec4(0.0);
    var acc14 = vec4(0.0);
    var acc15 = vec4(0.0);
    for (var i = 0u; i < k4; i++) {
        let low = x[x_low + i];
        let high = x[x_high + i];
        let w = i * 4u * n4 + w_col4;
        let w0 = weight[w];
        let w1 = weight[w + n4];
        let w2 = weight[w + 2u * n4];
        let w3 = weight[w + 3u * n4];
        acc0 = product4(acc0, subgroupBroadcast(low, 0u), w0, w1, w2, w3);
        acc1 = product4(acc1, subgroupBroadcast(low, 1u), w0, w1, w2, w3);
        acc2 = product4(acc2, subgroupBroadcast(low, 2u), w0, w1, w2, w3);
        acc3 = product4(acc3, subgroupBroadcast(low, 3u), w0, w1, w2, w3);
        acc4 = product4(acc4, subgroupBroadcast(low, 4u), w0, w1, w2, w3);
        acc5 = product4(acc5, subgroupBroadcast(low, 5u), w0, w1, w2, w3);
        acc6 = product4(acc6, subgroupBroadcast(low, 6u), w0, w1, w2, w3);
        acc7 = product4(acc7, subgroupBroadcast(low, 7u), w0, w1, w2, w3);
        acc8 = product4(acc8, subgroupBroadcast(high, 0u), w0, w1, w2, w3);
        acc9 = product4(acc9, subgroupBroadcast(high, 1u), w0, w1, w2, w3);
        acc10 = product4(acc10, subgroupBroadcast(high, 2u), w0, w1, w2, w3);
        acc11 = product4(acc11, subgroupBroadcast(high, 3u), w0, w1, w2, w3);
        acc12 = product4(acc12, subgroupBroadcast(high, 4u), w0, w1, w2, w3);
        acc13 = product4(acc13, subgroupBroadcast(high, 5u), w0, w1, w2, w3);
        acc14 = product4(acc14, subgroupBroadcast(high, 6u), w0, w1, w2, w3);
        acc15 = product4(acc15, subgroupBroadcast(high, 7u), w0, w1, w2, w3);
    }
    if col4 >= n4 { return; }
    if first_row + 0u <= last_row { store(first_row + 0u, col4, acc0); }
    if first_row + 1u <= last_row { store(first_row + 1u, col4, acc1); }
    if first_row + 2u <= last_row { store(first_row + 2u, col4, acc2); }
    if first_row + 3u <= last_row { store(first_row + 3u, col4, acc3); }
    if first_row + 4u <= last_row { store(first_row + 4u, col4, acc4); }
    if first_row + 5u <= last_row { store(first_row + 5u, col4, acc5); }
    if first_row + 6u <= last_row { store(first_row + 6u, col4, acc6); }
    if first_row + 7u <= last_row { store(first_row + 7u, col4, acc7); }
    if first_row + 8u <= last_row { store(first_row + 8u, col4, acc8); }
    if first_row + 9u <= last_row { store(first_row + 9u, col4, acc9); }
    if first_row + 10u <= last_row { store(first_row + 10u, col4, acc10); }
    if first_row + 11u <= last_row { store(first_row + 11u, col4, acc11); }
    if first_row + 12u <= last_row { store(first_row + 12u, col4, acc12); }
    if first_row + 13u <= last_row { store(first_row + 13u, col4, acc13); }
    if first_row + 14u <= last_row { store(first_row + 14u, col4, acc14); }
    if first_row + 15u <= last_row { store(first_row + 15u, col4, acc15); }
}
