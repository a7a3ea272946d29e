//! Every option that changes numbers is seen by some golden: put wrong, it no longer matches.

use vit_gpu::internals::model::{Batch, Block, Head, Pooling, VitConfig};
use vit_gpu::internals::ops::{Activation, PoolKind};
use vit_gpu::{Device, Session};

use crate::models::{compare, golden, goldens, open};

#[test]
fn each_option_matters_to_some_golden() {
    type Flip = fn(&mut VitConfig);
    use PoolKind::{Max, Mean};
    let flips: [(&str, &str, Flip); 59] = [
        ("timm_plain", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("hf_vit", "norm_eps", |cfg| cfg.norm_eps = 1e-6),
        ("hf_vit_msn", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("hf_dinov2", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("hf_clip_vision", "norm_eps", |cfg| cfg.norm_eps = 1e-6),
        ("hf_siglip_vision", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("torchvision", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("timm_swiglu_split_rms", "norm_eps", |cfg| cfg.norm_eps = 1e-6),
        ("timm_clip_quickgelu", "norm_eps", |cfg| cfg.norm_eps = 1e-6),
        ("meta_dinov2", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("open_clip_visual", "norm_eps", |cfg| cfg.norm_eps = 1e-6),
        ("jax_vit", "norm_eps", |cfg| cfg.norm_eps = 1e-5),
        ("timm_plain", "act", |cfg| cfg.act = Activation::GeluTanh),
        ("timm_tanh_f16", "act", |cfg| cfg.act = Activation::Gelu),
        ("timm_prenorm_avg", "act", |cfg| cfg.act = Activation::Gelu),
        ("timm_clip_quickgelu", "act", |cfg| cfg.act = Activation::Gelu),
        ("timm_pool_map", "act", |cfg| cfg.act = Activation::GeluTanh),
        ("timm_swiglu_packed", "act", |cfg| cfg.act = Activation::Gelu),
        ("hf_vit_pooler", "act", |cfg| cfg.act = Activation::Gelu),
        ("hf_clip_vision", "act", |cfg| cfg.act = Activation::Gelu),
        ("hf_siglip_vision", "act", |cfg| cfg.act = Activation::Gelu),
        ("open_clip_quickgelu", "act", |cfg| cfg.act = Activation::Gelu),
        ("open_clip_visual", "act", |cfg| cfg.act = Activation::QuickGelu),
        ("jax_vit", "act", |cfg| cfg.act = Activation::GeluTanh),
        ("jax_big_vision_map", "act", |cfg| cfg.act = Activation::Gelu),
        ("timm_plain", "heads", |cfg| (cfg.num_heads, cfg.head_dim) = (2, 18)),
        ("timm_plain", "scale", |cfg| cfg.attn_scale = (cfg.embed_dim as f32).powf(-0.5)),
        ("timm_plain", "post scale", |cfg| cfg.attn_post_scale = 0.9),
        ("timm_qk_norm", "qk_norm", |cfg| cfg.qk_norm = false),
        ("timm_parallel_scaling", "qk_norm", |cfg| cfg.qk_norm = false),
        ("timm_parallel_things", "branches", |cfg| cfg.block = Block::ParallelThings(1)),
        ("timm_res_post", "order", |cfg| cfg.block = Block::PreNorm),
        ("timm_swiglu_split_rms", "embed_norm", |cfg| cfg.embed_norm = false),
        ("timm_plain", "pool", |cfg| cfg.pool = Pooling::Tokens(Mean(1))),
        ("timm_registers", "pool range", |cfg| cfg.pool = Pooling::Tokens(Mean(0))),
        ("timm_pool_max", "pool range", |cfg| cfg.pool = Pooling::Tokens(Max(0))),
        ("timm_pool_avgmax", "pool", |cfg| cfg.pool = Pooling::Tokens(Max(3))),
        ("timm_pool_map_prefix", "pool range", |cfg| cfg.pool = Pooling::Attention(1)),
        ("hf_dinov2_registers", "pool range", |cfg| cfg.pool = Pooling::ClassAndMean { from: 1, layers: 1 }),
        ("meta_dinov2_linear", "pool range", |cfg| cfg.pool = Pooling::ClassAndMean { from: 1, layers: 1 }),
        ("hf_clip_classification", "pool range", |cfg| cfg.pool = Pooling::Tokens(Mean(0))),
        ("hf_clip_vision", "norm of the pooled", |cfg| cfg.fc_norm = false),
        ("luc_0_6_6", "scale", |cfg| cfg.attn_scale = (cfg.head_dim as f32).powf(-0.5)),
        ("luc_0_6_8", "scale", |cfg| cfg.attn_scale = (cfg.embed_dim as f32).powf(-0.5)),
        ("luc_0_24_mean", "pool range", |cfg| cfg.pool = Pooling::Tokens(Mean(1))),
        ("luc_1_2", "norm_eps", |cfg| cfg.norm_eps = 1e-6),
        ("luc_1_2", "patch_norm", |cfg| cfg.patch_norm = false),
        ("luc_0_2", "head's act", |cfg| cfg.pre_logits_act = Activation::None),
        ("patchlayer", "scale", |cfg| cfg.attn_scale = (cfg.head_dim as f32).powf(-0.5)),
        ("patchlayer", "head's act", |cfg| cfg.pre_logits_act = Activation::Gelu),
        ("zup_fused", "post scale", |cfg| cfg.attn_post_scale = (cfg.head_dim as f32).powf(-0.5)),
        ("zup_readme", "scale", |cfg| std::mem::swap(&mut cfg.attn_scale, &mut cfg.attn_post_scale)),
        ("zup_notebook", "scale", |cfg| std::mem::swap(&mut cfg.attn_scale, &mut cfg.attn_post_scale)),
        ("enc_batch_first", "act", |cfg| cfg.act = Activation::Gelu),
        ("enc_batch_first", "order", |cfg| cfg.block = Block::PreNorm),
        ("enc_batch_second", "batch_first", |cfg| cfg.batch = Batch::Independent),
        ("per_head", "act", |cfg| cfg.act = Activation::Relu),
        ("timm_distilled", "one head of two", |cfg| cfg.head = Head::Linear),
        ("timm_plain", "grid", |cfg| cfg.img_size = (cfg.img_size.1, cfg.img_size.0)),
    ];
    for (name, option, flip) in flips {
        let folder = goldens().join("models").join(name);
        let mut checkpoint = open(&folder);
        flip(&mut checkpoint.config);
        let options = Session::builder().device(Device::Cpu);
        let session = options.build(checkpoint).unwrap();
        let (_, pixels) = golden(&folder, "pixel_values").unwrap();
        let compared = compare(&folder, &session.forward(&pixels, true).unwrap());
        assert!(compared.is_err(), "{name} still matches with another {option}");
    }
}
