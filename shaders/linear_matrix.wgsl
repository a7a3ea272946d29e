// y = residual + gamma ⊙ act(x·W + bias) on cooperative matrices (matrix cores), staged through workgroup memory.
//
// Shapes:   x [m, k], W as its transpose [n, k] (as files have it), y [m, n] inside rows of ld; k, n, ld, y_col multiples of 4,
//           m any; f16.
// Bindings: common/linear_vec4.wgsl.
// Dispatch: SUBS_Y × SUBS_X subgroups of SUB_LANES invocations; each makes MATS_Y × MATS_X matrices of SIZE × SIZE;
//           x: tiles of columns, y: tiles of rows.
// Constants in front of this text: LANES = SUBS_Y·SUBS_X·SUB_LANES, SUB_LANES, SUBS_Y, SUBS_X, MATS_Y, MATS_X; SIZE, 8 or 16;
//           STEP, values of k a step; STEPS = STEP/SIZE; PIECE, values that are loaded at a time, 8 (EIGHTS = 1, FOURS = 0) where k
//           is a multiple of 8, or else 4; X_LOADS and W_LOADS, pieces of either tile that one invocation brings.
// Numerics: products of f16 summed in f32 on the matrix cores; bias, activation, gamma and residual in f32.
// CPU twin: src/ops/linear.rs.
//
// If the width of subgroups varies, a workgroup is one subgroup of the widest width. Narrower subgroups would then all do the
// same work. Elements of a matrix can't be accessed directly, so sums go through workgroup memory before bias and activation. Rows of
// the tiles have a length of a power of two plus 8 values, to avoid bank conflicts. Both tiles have k along their rows: then what an
// invocation holds of a matrix lies together, and is loaded 128 bits at a time.

const TILE_ROWS: u32 = SUBS_Y * MATS_Y * SIZE;
const TILE_COLS: u32 = SUBS_X * MATS_X * SIZE;
const STRIDE: u32 = STEP + 8u;
const SUM_STRIDE: u32 = MATS_X * SIZE + 4u;

// Of x, and of the weight.
var<workgroup> tile0: array<f16, TILE_ROWS * STRIDE>;
var<workgroup> tile1: array<f16, TILE_COLS * STRIDE>;
var<workgroup> sums: array<f32, SUBS_Y * SUBS_X * SIZE * SUM_STRIDE>;

// WGSL's widest vector of halves has four. Eight are loaded as whole words; converting them to f32 and back changes no value, and
// compilers leave it out.
//# for layout in EIGHTS
alias Piece = vec4<u32>;

//# for tile in 2
fn put${tile}(at: u32, piece: Piece) {
    //# for i in 4
    let pair${i} = vec2<f16>(unpack2x16float(piece[${i}]));
    tile${tile}[at + 2u * ${i}u] = pair${i}.x;
    tile${tile}[at + 2u * ${i}u + 1u] = pair${i}.y;
    //# end
}

//# end
//# end
//# for layout in FOURS
alias Piece = vec4<f16>;

//# for tile in 2
fn put${tile}(at: u32, piece: Piece) {
    //# for i in 4
    tile${tile}[at + ${i}u] = piece[${i}];
    //# end
}

//# end
//# end
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pieces = params.k / PIECE; // in a row of either
    let n4 = params.n / 4u;
    let first_row = group.y * TILE_ROWS;
    let first_col4 = group.x * (TILE_COLS / 4u);
    let sub = lane / SUB_LANES;
    let sub_lane = lane % SUB_LANES;
    let sub_row = (sub / SUBS_X) * MATS_Y * SIZE;
    let sub_col = (sub % SUBS_X) * MATS_X * SIZE;

    //# for i in X_LOADS
    let x_step${i} = (lane + ${i}u * LANES) % (STEP / PIECE);
    let x_line${i} = (lane + ${i}u * LANES) / (STEP / PIECE);
    let x_row${i} = (params.x_row + min(first_row + x_line${i}, params.m - 1u)) * pieces;
    var x_next${i} = select(Piece(), x[x_row${i} + min(x_step${i}, pieces - 1u)], x_step${i} < pieces);
    //# end
    //# for i in W_LOADS
    // Beyond the last k, the last values are read again; those of x are 0 there.
    let w_step${i} = (lane + ${i}u * LANES) % (STEP / PIECE);
    let w_line${i} = (lane + ${i}u * LANES) / (STEP / PIECE);
    let w_row${i} = min(4u * first_col4 + w_line${i}, params.n - 1u) * pieces;
    var w_next${i} = weight[w_row${i} + min(w_step${i}, pieces - 1u)];
    //# end

    //# for r in MATS_Y
    //# for c in MATS_X
    var acc${r}_${c} = coop_mat${SIZE}x${SIZE}<f32, C>();
    //# end
    //# end
    for (var step = 0u; step < pieces; step += STEP / PIECE) {
        workgroupBarrier();
        //# for i in X_LOADS
        put0(x_line${i} * STRIDE + PIECE * x_step${i}, x_next${i});
        //# end
        //# for i in W_LOADS
        put1(w_line${i} * STRIDE + PIECE * w_step${i}, w_next${i});
        //# end
        workgroupBarrier();
        let next = step + STEP / PIECE;
        if next < pieces {
            //# for i in X_LOADS
            let x_at${i} = next + x_step${i};
            x_next${i} = select(Piece(), x[x_row${i} + min(x_at${i}, pieces - 1u)], x_at${i} < pieces);
            //# end
            //# for i in W_LOADS
            w_next${i} = weight[w_row${i} + min(next + w_step${i}, pieces - 1u)];
            //# end
        }
        //# for s in STEPS
        //# for r in MATS_Y
        let x${s}_${r} = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, A>>(&tile0[(sub_row + ${r}u * SIZE) * STRIDE + ${s}u * SIZE], STRIDE);
        //# end
        //# for c in MATS_X
        let w${s}_${c} = coopLoad<coop_mat${SIZE}x${SIZE}<f16, B>>(&tile1[(sub_col + ${c}u * SIZE) * STRIDE + ${s}u * SIZE], STRIDE);
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
