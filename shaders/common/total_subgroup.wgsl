// Sums over a workgroup of SIZE invocations that are one subgroup.

const SIZE: u32 = 8u;

// Returns the sum of the values of all invocations to each of them.
fn total(value: f32, lane: u32) -> f32 {
    return subgroupAdd(value);
}
