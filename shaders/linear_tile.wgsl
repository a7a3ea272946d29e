// y = residual + gamma ⊙ act(x·W + bias), tiled through workgroup memory and registers: for GPUs.
//
// Shapes:   x [m, k], W [k, n] (KN, transposed at upload) or as its transpose [n, k] (NK), y [m, n] inside rows of ld; k, n, ld,
//           y_col multiples of 4, m any.
// Bindings: common/linear_vec4.wgsl.
// Dispatch: LANES = LANES_X·LANES_Y invocations make a tile of LANES_Y·ROWS rows × LANES_X·COLS4 vec4 columns, each of them
//           ROWS × COLS4; x: tiles of columns, y: tiles of rows.
// Constants in front of this text: LANES, LANES_X, LANES_Y, ROWS, COLS4; K4, vec4s of k a step; X_LOADS and W_LOADS, vec4s
//           of either tile that one invocation brings a step; KN and NK, one of them 1 and the other 0.
// Numerics: f32 sums in order of k by fused multiply-add, whatever E is. Workgroup memory: 16·K4·(rows + columns) bytes.
// CPU twin: src/ops/linear.rs.
//
// The values of the next step are loaded into registers while this step is computed. Rows and columns beyond the edge compute the
// last one again and are not stored. Values of x beyond the last k are 0.

const TILE_ROWS: u32 = LANES_Y * ROWS;
const TILE_COLS4: u32 = LANES_X * COLS4;

var<workgroup> x_tile: array<vec4<f32>, TILE_ROWS * K4>;
var<workgroup> w_tile: array<vec4<f32>, 4u * K4 * TILE_COLS4>;

// The values of W that are number i of a step which begins at vec4 first4 of k, in a tile which begins at vec4 column first_col4; and
// putting them where the products find them. Of [n, k], a vec4 is four values of k in one column.
//# for layout in KN
fn fetch(i: u32, first4: u32, first_col4: u32) -> vec4<f32> {
    let n4 = params.n / 4u;
    let row = min(4u * first4 + i / TILE_COLS4, params.k - 1u);
    return vec4<f32>(weight[row * n4 + min(first_col4 + i % TILE_COLS4, n4 - 1u)]);
}

fn put(i: u32, value: vec4<f32>) {
    w_tile[i] = value;
}
//# end
//# for layout in NK
fn fetch(i: u32, first4: u32, first_col4: u32) -> vec4<f32> {
    let k4 = params.k / 4u;
    let column = min(4u * first_col4 + i / K4, params.n - 1u);
    return vec4<f32>(weight[column * k4 + min(first4 + i % K4, k4 - 1u)]);
}

fn put(i: u32, value: vec4<f32>) {
    let column = i / K4;
    //# for k in 4
    w_tile[(4u * (i % K4) + ${k}u) * TILE_COLS4 + column / 4u][column % 4u] = value[${k}];
    //# end
}
//# end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let k4 = params.k / 4u;
    let n4 = params.n / 4u;
    let first_row = group.y * TILE_ROWS;
    let first_col4 = group.x * TILE_COLS4;
    let lane_x = lane % LANES_X;
    let lane_y = lane / LANES_X;

    //# for i in X_LOADS
    let x_step${i} = (lane + ${i}u * LANES) % K4;
    let x_row${i} = (params.x_row + min(first_row + (lane + ${i}u * LANES) / K4, params.m - 1u)) * k4;
    var x_next${i} = select(vec4(0.0), vec4<f32>(x[x_row${i} + min(x_step${i}, k4 - 1u)]), x_step${i} < k4);
    //# end
    //# for i in W_LOADS
    var w_next${i} = fetch(lane + ${i}u * LANES, 0u, first_col4);
    //# end

    //# for r in ROWS
    //# for c in COLS4
    var acc${r}_${c} = vec4(0.0);
    //# end
    //# end
    for (var step = 0u; step < k4; step += K4) {
        workgroupBarrier();
        //# for i in X_LOADS
        x_tile[lane + ${i}u * LANES] = x_next${i};
        //# end
        //# for i in W_LOADS
        put(lane + ${i}u * LANES, w_next${i});
        //# end
        workgroupBarrier();
        let next = step + K4;
        if next < k4 {
            //# for i in X_LOADS
            let x_at${i} = next + x_step${i};
            x_next${i} = select(vec4(0.0), vec4<f32>(x[x_row${i} + min(x_at${i}, k4 - 1u)]), x_at${i} < k4);
            //# end
            //# for i in W_LOADS
            w_next${i} = fetch(lane + ${i}u * LANES, next, first_col4);
            //# end
        }
        for (var i = 0u; i < K4; i++) {
            //# for r in ROWS
            let x${r} = x_tile[(${r}u * LANES_Y + lane_y) * K4 + i];
            //# end
            //# for k in 4
            //# for c in COLS4
            let w${k}_${c} = w_tile[(i * 4u + ${k}u) * TILE_COLS4 + ${c}u * LANES_X + lane_x];
            //# for r in ROWS
            acc${r}_${c} = fma(vec4(x${r}[${k}]), w${k}_${c}, acc${r}_${c});
            //# end
            //# end
            //# end
        }
    }

    //# for c in COLS4
    let col${c} = first_col4 + ${c}u * LANES_X + lane_x;
    if col${c} < n4 {
        //# for r in ROWS
        let row${r} = first_row + ${r}u * LANES_Y + lane_y;
        if row${r} < params.m { store(row${r}, col${c}, acc${r}_${c}); }
        //# end
    }
    //# end
}
