// Parameters and switches of every linear kernel. Rust twin: LinearParams in src/gpu/kernels.rs.

struct Params {
    m: u32,     // rows
    n: u32,     // output columns of this piece
    k: u32,     // inner length
    x_row: u32, // first row of x
    y_row: u32, // first row of y and residual
    y_col: u32, // first column of y and residual
    ld: u32,    // columns of y and residual
}

override HAS_BIAS: bool = false;
override HAS_GAMMA: bool = false;
override HAS_RESIDUAL: bool = false;
