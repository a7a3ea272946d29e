// Measures how many matrix products per second the device can do: 8 chains per subgroup, one matrix written.
//
// Shapes:   x f16 [SIZE·SIZE]; y f32 [SIZE·SIZE].
// Bindings: 0 params; 1 x; 2 y.
// Dispatch: LANES invocations, one subgroup, a workgroup.
// Constants in front of this text: LANES; SIZE, 8 or 16.
// Numerics: 8·rounds products of SIZE³ multiply-adds of two FLOP each per workgroup.
// CPU twin: none; it measures the device.

struct Params {
    len: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main() {
    let a = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, A>>(&x[0], SIZE);
    let b = coopLoadT<coop_mat${SIZE}x${SIZE}<f16, B>>(&x[0], SIZE);
    //# for i in 8
    var s${i} = coop_mat${SIZE}x${SIZE}<f32, C>();
    //# end
    for (var round = 0u; round < params.rounds; round++) {
        //# for i in 8
        s${i} = coopMultiplyAdd(a, b, s${i});
        //# end
    }
    // Every chain is stored, always to the same place, so that the compiler can't remove any.
    let stride = SIZE;
    let at = 0u;
    //# for i in 8
    {
        let value = s${i};
        coopStoreT(value, &y[at], stride);
    }
    //# end
}
