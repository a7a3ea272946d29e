// The index of a workgroup. Workgroups are counted along x, then along y, because each may have at most 65,535.
fn workgroup_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
