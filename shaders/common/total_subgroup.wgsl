// Sums over a workgroup of SIZE invocations that are one subgroup.

const SIZE: u32 = 8u;

// The sum of every invocation's value, in all of them.
fn total(value: f32, lane: u32) -> f32 {
    return subgroupAdd(value);
}
