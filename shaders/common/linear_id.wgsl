// One index over a dispatch of any size: workgroups are counted along x, then y (65,535 is the limit of either).
fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
