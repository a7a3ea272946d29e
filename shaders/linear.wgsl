// y = residual + gamma ⊙ act(x·W + bias), tiled through workgroup memory.
//
// Shapes:   x [m, k], W [k, n] (transposed at upload), y [m, n] inside rows of ld; k, n, ld, y_col multiples of 4, m any.
// Bindings: common/linear_vec4.wgsl.
// Dispatch: 16×16 invocations make a tile of 64 rows × 64 columns; x: tiles of columns, y: tiles of rows.
// Numerics: f32 throughout, sums in order of k by fused multiply-add. 8 KiB of workgroup memory.
// CPU twin: src/ops/linear.rs.

const TILE: u32 = 64u;   // rows and columns of a workgroup's tile
const STEP4: u32 = 4u;   // vec4s of k per step

var<workgroup> x_tile: array<vec4<f32>, 256>; // [64 rows][4]: 16 values of k a row
var<workgroup> w_tile: array<vec4<f32>, 256>; // [16 values of k][16]: 64 columns

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let k4 = params.k / 4u;
    let n4 = params.n / 4u;
    let first_row = group.y * TILE;
    let first_col4 = group.x * (TILE / 4u);

    // Each invocation brings one vec4 of either tile a step.
    let x_load_row = first_row + index / STEP4;
    let x_load_k4 = index % STEP4;
    let w_load_k = index / 16u;
    let w_load_col4 = first_col4 + index % 16u;

    var acc0 = vec4(0.0);
    var acc1 = vec4(0.0);
    var acc2 = vec4(0.0);
    var acc3 = vec4(0.0);
    for (var step = 0u; step < k4; step += STEP4) {
        var x_value = vec4(0.0);
        if x_load_row < params.m && step + x_load_k4 < k4 {
            x_value = x[(params.x_row + x_load_row) * k4 + step + x_load_k4];
        }
        var w_value = vec4(0.0);
        let k = step * 4u + w_load_k;
        if k < params.k && w_load_col4 < n4 {
            w_value = weight[k * n4 + w_load_col4];
        }
        workgroupBarrier();
        x_tile[index] = x_value;
        w_tile[index] = w_value;
        workgroupBarrier();
        for (var i = 0u; i < STEP4; i++) {
            let w0 = w_tile[(i * 4u + 0u) * 16u + lane.x];
            let w1 = w_tile[(i * 4u + 1u) * 16u + lane.x];
            let w2 = w_tile[(i * 4u + 2u) * 16u + lane.x];
            let w3 = w_tile[(i * 4u + 3u) * 16u + lane.x];
            acc0 = product4(acc0, x_tile[(lane.y * 4u + 0u) * STEP4 + i], w0, w1, w2, w3);
            acc1 = product4(acc1, x_tile[(lane.y * 4u + 1u) * STEP4 + i], w0, w1, w2, w3);
            acc2 = product4(acc2, x_tile[(lane.y * 4u + 2u) * STEP4 + i], w0, w1, w2, w3);
            acc3 = product4(acc3, x_tile[(lane.y * 4u + 3u) * STEP4 + i], w0, w1, w2, w3);
        }
    }

    let row = first_row + lane.y * 4u;
    let col4 = first_col4 + lane.x;
    if col4 < n4 {
        if row < params.m { store(row, col4, acc0); }
        if row + 1u < params.m { store(row + 1u, col4, acc1); }
        if row + 2u < params.m { store(row + 2u, col4, acc2); }
        if row + 3u < params.m { store(row + 3u, col4, acc3); }
    }
}
