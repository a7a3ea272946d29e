// y = residual + gamma ⊙ act(x·W + bias) on cooperative matrices (matrix cores), staged through workgroup memory.
//
// Shapes:   x [m, k], W [k, n] (transposed at upload), y [m, n] inside rows of ld; k, n, ld, y_col multiples of 4, m any; f16.
// Bindings: common/linear_vec4.wgsl.
// Dispatch: SUBS_Y × SUBS_X subgroups of SUB_LANES invocations; each makes MATS_Y × MATS_X matrices of SIZE × SIZE;
//           x: tiles of columns, y: tiles of rows.
// Constants in front of this text: LANES = SUBS_Y·SUBS_X·SUB_LANES, SUB_LANES, SUBS_Y, SUBS_X, MATS_Y, MATS_X; SIZE, 8 or 16;
//           STEP, values of k a step; STEPS = STEP/SIZE; X_LOADS and W_LOADS, vec4s of either tile that one invocation brings.
// Numerics: products of f16 summed in f32 on the matrix cores; bias, activation, gamma and residual in f32.
// CPU twin: src/ops/linear.rs.
//
// If the width of subgroups varies, a workgroup is one subgroup of the widest width. Narrower subgroups would then all do the
// same work. Elements of a matrix can't be accessed directly, so sums go through workgroup memory before bias and activation. Rows of
// the tiles have a length of a power of two plus 8 values, to avoid bank conflicts.

const TILE_ROWS: u32 = SUBS_Y * MATS_Y * SIZE;
const TILE_COLS: u32 = SUBS_X * MATS_X * SIZE;
const X_STRIDE: u32 = STEP + 8u;
const W_STRIDE: u32 = TILE_COLS + 8u;
const SUM_STRIDE: u32 = MATS_X * SIZE + 4u;

var<workgroup> x_tile: array<f16, TILE_ROWS * X_STRIDE>;
var<workgroup> w_tile: array<f16, STEP * W_STRIDE>;
var<workgroup> sums: array<f32, SUBS_Y * SUBS_X * SIZE * SUM_STRIDE>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k4 = params.k / 4u;
    let n4 = params.n / 4u;
    let first_row = group.y * TILE_ROWS;
    let first_col4 = group.x * (TILE_COLS / 4u);
    let sub = lane / SUB_LANES;
    let sub_lane = lane % SUB_LANES;
    let sub_row = (sub / SUBS_X) * MATS_Y * SIZE;
    let sub_col = (sub % SUBS_X) * MATS_X * SIZE;

    //# for i in X_LOADS
    let x_step${i} = (lane + ${i}u * LANES) % (STEP / 4u);
    let x_line${i} = (lane + ${i}u * LANES) / (STEP / 4u);
    let x_row${i} = (params.x_row + min(first_row + x_line${i}, params.m - 1u)) * k4;
    var x_next${i} = select(vec4(0.0h), x[x_row${i} + min(x_step${i}, k4 - 1u)], x_step${i} < k4);
    //# end
    //# for i in W_LOADS
    let w_step${i} = (lane + ${i}u * LANES) / (TILE_COLS / 4u);
    let w_line${i} = (lane + ${i}u * LANES) % (TILE_COLS / 4u);
    let w_col${i} = min(first_col4 + w_line${i}, n4 - 1u);
    var w_next${i} = weight[min(w_step${i}, params.k - 1u) * n4 + w_col${i}];
    //# end

    //# for r in MATS_Y
    //# for c in MATS_X
    var acc${r}_${c} = coop_mat${SIZE}x${SIZE}<f32, C>();
    //# end
    //# end
    for (var step = 0u; step < k4; step += STEP / 4u) {
        workgroupBarrier();
        //# for i in X_LOADS
        {
            let at = x_line${i} * X_STRIDE + 4u * x_step${i};
            x_tile[at] = x_next${i}.x;
            x_tile[at + 1u] = x_next${i}.y;
            x_tile[at + 2u] = x_next${i}.z;
            x_tile[at + 3u] = x_next${i}.w;
        }
        //# end
        //# for i in W_LOADS
        {
            let at = w_step${i} * W_STRIDE + 4u * w_line${i};
            w_tile[at] = w_next${i}.x;
            w_tile[at + 1u] = w_next${i}.y;
            w_tile[at + 2u] = w_next${i}.z;
            w_tile[at + 3u] = w_next${i}.w;
        }
        //# end
        workgroupBarrier();
        let next = step + STEP / 4u;
        if next < k4 {
            //# for i in X_LOADS
            let x_at${i} = next + x_step${i};
            x_next${i} = select(vec4(0.0h), x[x_row${i} + min(x_at${i}, k4 - 1u)], x_at${i} < k4);
            //# end
            //# for i in W_LOADS
            w_next${i} = weight[min(4u * next + w_step${i}, params.k - 1u) * n4 + w_col${i}];
            //# end
        }
        //# for s in STEPS
        //# for r in MATS_Y
        let x${s}_${r} = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, A>>(&x_tile[(sub_row + ${r}u * SIZE) * X_STRIDE + ${s}u * SIZE], X_STRIDE);
        //# end
        //# for c in MATS_X
        let w${s}_${c} = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, B>>(&w_tile[${s}u * SIZE * W_STRIDE + sub_col + ${c}u * SIZE], W_STRIDE);
        //# for r in MATS_Y
        acc${r}_${c} = coopMultiplyAdd(x${s}_${r}, w${s}_${c}, acc${r}_${c});
        //# end
        //# end
        //# end
    }

    let stage = sub * SIZE * SUM_STRIDE;
    let stride = SUM_STRIDE;
    //# for r in MATS_Y
    workgroupBarrier();
    //# for c in MATS_X
    {
        let value = acc${r}_${c};
        let at = stage + ${c}u * SIZE;
        coopStoreT(value, &sums[at], stride);
    }
    //# end
    workgroupBarrier();
    for (var i = sub_lane; i < SIZE * (MATS_X * SIZE / 4u); i += SUB_LANES) {
        let line = i / (MATS_X * SIZE / 4u);
        let col = i % (MATS_X * SIZE / 4u);
        let row = first_row + sub_row + ${r}u * SIZE + line;
        let col4 = first_col4 + sub_col / 4u + col;
        if row < params.m && col4 < n4 {
            let at = stage + line * SUM_STRIDE + 4u * col;
            store(row, col4, vec4(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]));
        }
    }
    //# end
}
