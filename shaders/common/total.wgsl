// Sums over a workgroup of SIZE invocations.

const SIZE: u32 = 64u;
var<workgroup> sums: array<f32, SIZE>;

// The sum of every invocation's value, in all of them; in the same order every time.
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
