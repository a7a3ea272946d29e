// y = (x − mean)/√(var + eps)·weight + bias within each group of len consecutive values, read once into registers;
// with RMS mean and bias are 0.
//
// Shapes:   x [groups, len], weight [len], bias [len], y [groups, len]; E; len a multiple of 4, at most 4·SIZE·VEC4S.
// Bindings: 0 params; 1 x; 2 weight; 3 bias (with RMS a placeholder that is not read); 4 y.
// Dispatch: one workgroup of SIZE a group, counted along x, then y; SIZE and how it sums: common/total.wgsl (64, through
//           workgroup memory) or common/total_subgroup.wgsl (8, one subgroup; for software adapters).
// Constants in front of this text: VEC4S, vec4s that one invocation keeps.
// Numerics: f32 for every E; the mean first, then the variance around it (no cancellation); SIZE running sums, then their sum.
// CPU twin: src/ops/layer_norm.rs.

struct Params {
    groups: u32,
    len: u32,
    eps: f32,
}

override RMS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<E4>;
@group(0) @binding(2) var<storage, read> weight: array<E4>;
@group(0) @binding(3) var<storage, read> bias: array<E4>;
@group(0) @binding(4) var<storage, read_write> y: array<E4>;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let which = workgroup_index(group, groups);
    if which >= params.groups { // true for all invocations of the workgroup or for none
        return;
    }
    let len4 = params.len / 4u;
    let first = which * len4;
    // Invocations beyond the end read the last vec4 again, with a weight of 0.
    var sum4 = vec4(0.0);
    //# for i in VEC4S
    let at${i} = min(lane + ${i}u * SIZE, len4 - 1u);
    let there${i} = f32(lane + ${i}u * SIZE < len4);
    let x${i} = vec4<f32>(x[first + at${i}]);
    sum4 += there${i} * x${i};
    //# end
    var mean = 0.0;
    if !RMS {
        mean = total((sum4.x + sum4.y) + (sum4.z + sum4.w), lane) / f32(params.len);
    }
    var squares4 = vec4(0.0);
    //# for i in VEC4S
    let d${i} = there${i} * (x${i} - mean);
    squares4 = fma(d${i}, d${i}, squares4);
    //# end
    let variance = total((squares4.x + squares4.y) + (squares4.z + squares4.w), lane) / f32(params.len);
    let rstd = 1.0 / sqrt(variance + params.eps);
    //# for i in VEC4S
    if lane + ${i}u * SIZE < len4 {
        var y${i} = d${i} * rstd * vec4<f32>(weight[at${i}]);
        if !RMS {
            y${i} += vec4<f32>(bias[at${i}]);
        }
        y[first + at${i}] = E4(y${i});
    }
    //# end
}
