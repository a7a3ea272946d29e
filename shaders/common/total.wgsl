// Sums over a workgroup of SIZE invocations.

const SIZE: u32 = 64u;
var<workgroup> sums: array<f32, SIZE>;

// Returns the sum of the values of all invocations to each of them. The order of additions is always the same.
fn total(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    sums[lane] = value;
    workgroupBarrier();
    for (var width = SIZE / 2u; width > 0u; width /= 2u) {
        if lane < width {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    return sums[0];
}
