// Parameters and options of every linear kernel. They must be the same as LinearParams in src/gpu/kernels/.

struct Params {
    m: u32,     // rows
    n: u32,     // output columns of this piece
    k: u32,     // length of the sums: columns of x
    x_row: u32, // first row of x
    y_row: u32, // first row of y and residual
    y_col: u32, // first column of y and residual
    ld: u32,    // columns of y and residual
}

override HAS_BIAS: bool = false;
override HAS_GAMMA: bool = false;
override HAS_RESIDUAL: bool = false;
