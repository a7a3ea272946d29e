// Bindings of the linear kernels whose k, n, y_col and ld are multiples of 4, and the function that stores their results.
//
// Bindings: 0 params; 1 x [·, k]; 2 weight, [k, n] or [n, k] as each kernel says; 3 bias [n]; 4 gamma [n]; 5 residual [·, ld];
//           6 y [·, ld]; all E. Of x and the weight a kernel reads a Piece at a time. An optional operand that is absent has a placeholder buffer, which is not read.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Piece>;
@group(0) @binding(2) var<storage, read> weight: array<Piece>;
@group(0) @binding(3) var<storage, read> bias: array<E4>;
@group(0) @binding(4) var<storage, read> gamma: array<E4>;
@group(0) @binding(5) var<storage, read> residual: array<E4>;
@group(0) @binding(6) var<storage, read_write> y: array<E4>;

// Stores four columns of one row, beginning at column col4·4: residual + gamma·act(sum + bias).
fn store(row: u32, col4: u32, sum: vec4<f32>) {
    var value = sum;
    if HAS_BIAS {
        value += vec4<f32>(bias[col4]);
    }
    value = activate4(value);
    if HAS_GAMMA {
        value *= vec4<f32>(gamma[col4]);
    }
    let at = (params.y_row + row) * (params.ld / 4u) + params.y_col / 4u + col4;
    if HAS_RESIDUAL {
        value += vec4<f32>(residual[at]);
    }
    y[at] = E4(value);
}
