// Parameters of every attention kernel, with strides in elements. They must be the same as AttentionParams in src/gpu/kernels/.

struct Params {
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
}

// Whether a query sees only the keys up to its own position.
override CAUSAL: bool = false;

// The last key that a query sees.
fn last_seen(query: u32, last_key: u32) -> u32 {
    return select(last_key, min(query, last_key), CAUSAL);
}

// The score of a key beyond the last one. It is finite, because infinities are unreliable under fast math.
const LOWEST: f32 = -3e38;
