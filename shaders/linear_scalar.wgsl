// y = residual + gamma ⊙ act(x·W + bias), for shapes that are no multiple of 4 (a head of 10 classes, patches of 5×5).
//
// Shapes:   x [m, k], W [k, n] (transposed at upload), y [m, n] inside rows of ld; all sizes any.
// Bindings: 0 params; 1 x; 2 weight; 3 bias [n]; 4 gamma [n]; 5 residual [·, ld]; 6 y [·, ld]; all E. Absent
//           optional operands have a placeholder buffer, which is not read.
// Dispatch: 64 invocations make 16 rows × 16 columns, four rows each; x: tiles of columns, y: tiles of rows.
// Numerics: f32 sums in order of k by fused multiply-add, whatever E is. 2 KiB of workgroup memory.
// CPU twin: src/ops/linear.rs.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<E>;
@group(0) @binding(2) var<storage, read> weight: array<E>;
@group(0) @binding(3) var<storage, read> bias: array<E>;
@group(0) @binding(4) var<storage, read> gamma: array<E>;
@group(0) @binding(5) var<storage, read> residual: array<E>;
@group(0) @binding(6) var<storage, read_write> y: array<E>;

const TILE: u32 = 16u;

var<workgroup> x_tile: array<f32, 256>; // [16 rows][16 values of k]
var<workgroup> w_tile: array<f32, 256>; // [16 values of k][16 columns]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let lane = vec2(index % TILE, index / TILE);
    let first_row = group.y * TILE;
    let col = group.x * TILE + lane.x;
    var acc = vec4(0.0); // rows lane.y, lane.y + 4, + 8, + 12
    for (var step = 0u; step < params.k; step += TILE) {
        workgroupBarrier();
        for (var i = lane.y; i < TILE; i += 4u) {
            let row = first_row + i;
            var x_value = 0.0;
            if row < params.m && step + lane.x < params.k {
                x_value = f32(x[(params.x_row + row) * params.k + step + lane.x]);
            }
            x_tile[i * TILE + lane.x] = x_value;
            var w_value = 0.0;
            if step + i < params.k && col < params.n {
                w_value = f32(weight[(step + i) * params.n + col]);
            }
            w_tile[i * TILE + lane.x] = w_value;
        }
        workgroupBarrier();
        for (var i = 0u; i < TILE; i++) {
            let rows = vec4(
                x_tile[lane.y * TILE + i],
                x_tile[(lane.y + 4u) * TILE + i],
                x_tile[(lane.y + 8u) * TILE + i],
                x_tile[(lane.y + 12u) * TILE + i],
            );
            acc = fma(rows, vec4(w_tile[i * TILE + lane.x]), acc);
        }
    }
    if col >= params.n {
        return;
    }
    if HAS_BIAS {
        acc += f32(bias[col]);
    }
    acc = activate4(acc);
    if HAS_GAMMA {
        acc *= f32(gamma[col]);
    }
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + lane.y + 4u * i;
        if row < params.m {
            let at = (params.y_row + row) * params.ld + params.y_col + col;
            var value = acc[i];
            if HAS_RESIDUAL {
                value += f32(residual[at]);
            }
            y[at] = E(value);
        }
    }
}
