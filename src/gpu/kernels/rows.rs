//! The operations that have only one kernel. Each invocation computes a value, or each workgroup a row.

use super::params::{
    AddParams, AttentionMapParams, GluParams, LayerNormParams, PoolParams, TokensParams, UnfoldParams,
};
use super::{Capabilities, Dispatch, dispatch, spread};
use crate::ops::{Add, AttentionMap, Glu, LayerNorm, PixelSource, Pool, Tokens, Unfold};

/// Longest row that a norm keeps in registers: eight vec4s of 64 invocations, 64 of 8.
const LONGEST_IN_REGISTERS: usize = 4 * 8 * 64;

pub fn layer_norm(op: &LayerNorm, capabilities: Capabilities) -> Dispatch {
    let params = LayerNormParams { groups: op.groups as u32, len: op.len as u32, eps: op.eps };
    if op.len.is_multiple_of(4) && op.len <= LONGEST_IN_REGISTERS {
        // Software adapters compile shaders with barriers as coroutines, which run slowly.
        let (name, size) = if capabilities.software { ("layer_norm_subgroup", 8) } else { ("layer_norm_vec4", 64) };
        let mut dispatch = dispatch(name, &params, spread(op.groups, 1));
        dispatch.constants = vec![("VEC4S", op.len.div_ceil(4 * size) as u32)];
        dispatch.overrides = vec![("RMS", u32::from(op.rms))];
        return dispatch;
    }
    let mut dispatch = dispatch("layer_norm", &params, spread(op.groups, 1));
    dispatch.overrides = vec![("RMS", u32::from(op.rms))];
    dispatch
}

pub fn attention_map(op: &AttentionMap) -> Dispatch {
    let [heads, head_dim, q_len, kv_len] = [op.heads, op.head_dim, op.q_len, op.kv_len].map(|value| value as u32);
    let [[q_offset, q_outer, q_seq], [k_offset, k_outer, k_seq]] =
        [op.q, op.k].map(|at| [at.offset as u32, at.outer as u32, at.seq as u32]);
    let params = AttentionMapParams {
        heads,
        head_dim,
        q_len,
        kv_len,
        scale: op.scale,
        q_offset,
        q_outer,
        q_seq,
        k_offset,
        k_outer,
        k_seq,
    };
    dispatch("attention_map", &params, [q_len.div_ceil(64), heads, op.outer as u32])
}

pub fn unfold(op: &Unfold) -> Dispatch {
    let (grid_h, grid_w) = op.grid();
    let len = op.batch * grid_h * grid_w * op.chans * op.patch.0 * op.patch.1;
    let [chans, height, width, ph, pw, grid_h, grid_w] =
        [op.chans, op.size.0, op.size.1, op.patch.0, op.patch.1, grid_h, grid_w].map(|value| value as u32);
    let name = match op.source {
        PixelSource::Bytes => "unfold_bytes",
        PixelSource::Planes => "unfold_planes",
    };
    dispatch(name, &UnfoldParams { len: len as u32, chans, height, width, ph, pw, grid_h, grid_w }, spread(len, 64))
}

pub fn tokens(op: &Tokens) -> Dispatch {
    let len = op.batch * (op.prefix + op.patches) * op.width;
    let [patches, width, prefix, pos_prefix] =
        [op.patches, op.width, op.prefix, op.pos_prefix].map(|value| value as u32);
    let params = TokensParams { len: len as u32, patches, width, prefix, pos_prefix, pos: u32::from(op.pos) };
    dispatch("tokens", &params, spread(len, 64))
}

pub fn pool(op: &Pool) -> Dispatch {
    let len = op.batch * op.width;
    let (first, count) = op.range();
    let [len_u, tokens, width, first, count, col, ld] =
        [len, op.tokens, op.width, first, count, op.col, op.ld].map(|value| value as u32);
    let (of_mean, of_max) = op.kind.shares();
    let params = PoolParams { len: len_u, tokens, width, first, count, col, ld, of_mean, of_max };
    dispatch("pool", &params, spread(len, 64))
}

pub fn glu(op: &Glu) -> Dispatch {
    let len = op.rows * op.width;
    let mut dispatch = dispatch("glu", &GluParams { len: len as u32, width: op.width as u32 }, spread(len, 64));
    dispatch.overrides = vec![("ACTIVATION", op.act as u32)];
    dispatch
}

pub fn add(op: &Add) -> Dispatch {
    dispatch("add", &AddParams { len: op.len as u32, scale: op.scale }, spread(op.len, 64))
}
