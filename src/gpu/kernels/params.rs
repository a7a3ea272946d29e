//! Parameters of kernels, as their uniform buffers hold them; tests compare the fields with the shaders' texts.

use bytemuck::{Pod, Zeroable};

macro_rules! params {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Pod, Zeroable)]
        pub struct $name { $(pub $field: $type),* }
        impl $name { pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*]; }
    };
}

params!(LinearParams { m: u32, n: u32, k: u32, x_row: u32, y_row: u32, y_col: u32, ld: u32 });
params!(LayerNormParams { groups: u32, len: u32, eps: f32 });
params!(AttentionParams {
    head_dim: u32,
    q_len: u32,
    kv_len: u32,
    scale: f32,
    post_scale: f32,
    q_offset: u32,
    q_outer: u32,
    q_seq: u32,
    k_offset: u32,
    k_outer: u32,
    k_seq: u32,
    v_offset: u32,
    v_outer: u32,
    v_seq: u32,
    o_offset: u32,
    o_outer: u32,
    o_seq: u32,
});
params!(AttentionMapParams {
    heads: u32,
    head_dim: u32,
    q_len: u32,
    kv_len: u32,
    scale: f32,
    q_offset: u32,
    q_outer: u32,
    q_seq: u32,
    k_offset: u32,
    k_outer: u32,
    k_seq: u32,
});
params!(ProbeParams { len: u32 });
params!(UnfoldParams { len: u32, chans: u32, height: u32, width: u32, ph: u32, pw: u32, grid_h: u32, grid_w: u32 });
params!(TokensParams { len: u32, patches: u32, width: u32, prefix: u32, pos_prefix: u32, pos: u32 });
params!(PoolParams {
    len: u32,
    tokens: u32,
    width: u32,
    first: u32,
    count: u32,
    col: u32,
    ld: u32,
    of_mean: f32,
    of_max: f32,
});
params!(GluParams { len: u32, width: u32 });
params!(AddParams { len: u32, scale: f32 });
params!(PeakParams { len: u32, rounds: u32 });
