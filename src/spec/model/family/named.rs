//! The model classes that are known by name.

use super::{Bias, Family, QueryKeyNorm, Skeleton, WindowRule};
use crate::spec::model::config::Fields;
use crate::spec::precision::Precision;

/// The common shape: `RMSNorm` twice, gated MLP, grouped attention, biases where the file asks for them.
pub(super) const LLAMA: Family = Family {
    tied_head: false,
    norms: 2,
    norm_parts: 1,
    embedding_norm: false,
    gated: true,
    qkv_bias: Bias::Field("attention_bias", false),
    output_bias: Bias::Field("attention_bias", false),
    mlp_bias: Bias::Field("mlp_bias", false),
    head_bias: false,
    query_key_norm: QueryKeyNorm::None,
    learned_positions: None,
    windows: WindowRule::All,
    skeleton: Skeleton::Attention,
    output_gate: false,
    sinks: false,
    expert_bias: false,
    router_vectors: 0,
    shared_gate: false,
    state_dtype: None,
    defaults: &[],
};

/// GPT-2's shape: `LayerNorm`, two-matrix MLP, biases everywhere.
const GPT: Family = Family {
    tied_head: true,
    norm_parts: 2,
    gated: false,
    qkv_bias: Bias::Always,
    output_bias: Bias::Always,
    mlp_bias: Bias::Always,
    ..LLAMA
};

const GEMMA: Family = Family {
    tied_head: true,
    ..LLAMA
};

const GEMMA3: Family = Family {
    norms: 4,
    query_key_norm: QueryKeyNorm::PerHead,
    windows: WindowRule::Pattern,
    defaults: &[
        ("vocab_size", 262_208),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("sliding_window", 4096),
        ("sliding_window_pattern", 6),
    ],
    ..GEMMA
};

const QWEN2: Family = Family {
    qkv_bias: Bias::Always,
    output_bias: Bias::Never,
    mlp_bias: Bias::Never,
    windows: WindowRule::FromMaxWindowLayers,
    ..LLAMA
};

const QWEN3: Family = Family {
    query_key_norm: QueryKeyNorm::PerHead,
    windows: WindowRule::FromMaxWindowLayers,
    ..LLAMA
};

const OLMO2: Family = Family {
    query_key_norm: QueryKeyNorm::PerProjection,
    ..LLAMA
};

const GLM: Family = Family {
    output_bias: Bias::Never,
    ..LLAMA
};

/// The family of `model_type`; a `_text` ending is that of a multimodal model's text part.
pub(super) fn find(model_type: &str, fields: &Fields<'_>) -> Option<Family> {
    let model_type = model_type.strip_suffix("_text").unwrap_or(model_type);
    dense(model_type)
        .or_else(|| with_experts(model_type, fields))
        .or_else(|| hybrid(model_type))
        .or_else(|| with_plain_mlp(model_type, fields))
}

/// Dense decoders with a gated MLP; the classes that differ from them by experts alone too.
fn dense(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "llama" | "mistral" | "ministral" | "ministral3" | "pixtral" | "phi3" | "granite"
        | "smollm3" | "internlm2" | "internlm3" | "arcee" | "mixtral" | "granitemoe" => LLAMA,
        "qwen2" | "qwen2_vl" | "qwen2_5_vl" => QWEN2,
        "qwen3" | "qwen3_moe" | "qwen3_vl" | "qwen3_vl_moe" => QWEN3,
        "gemma" => GEMMA,
        "gemma2" => Family {
            norms: 4,
            windows: WindowRule::Even,
            ..GEMMA
        },
        "gemma3" => GEMMA3,
        "glm" => GLM,
        "glm4" => Family { norms: 4, ..GLM },
        "seed_oss" => Family {
            output_bias: Bias::Field("attention_out_bias", false),
            ..LLAMA
        },
        "exaone4" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            ..LLAMA
        },
        "olmo2" | "olmo3" | "olmoe" => OLMO2,
        "cohere" | "cohere2" => Family {
            tied_head: true,
            norms: 1,
            windows: WindowRule::Pattern,
            ..LLAMA
        },
        _ => return None,
    })
}

/// Mixtures of experts with traits of their own.
fn with_experts(model_type: &str, fields: &Fields<'_>) -> Option<Family> {
    let if_set = |flag: &str| {
        if fields.flag(flag) == Some(true) {
            QueryKeyNorm::PerHead
        } else {
            QueryKeyNorm::None
        }
    };
    Some(match model_type {
        "deepseek_v2" | "deepseek_v3" | "deepseek_v32" | "kimi_k2" | "kimi_k25"
        | "glm4_moe_lite" => Family {
            router_vectors: u64::from(fields.string("topk_method") == Some("noaux_tc")),
            ..LLAMA
        },
        "llama4" => Family {
            windows: WindowRule::Chunked,
            ..LLAMA
        },
        "qwen2_moe" => Family {
            shared_gate: true,
            ..QWEN2
        },
        "gpt_oss" => Family {
            sinks: true,
            expert_bias: true,
            router_vectors: 1,
            windows: WindowRule::Even,
            ..LLAMA
        },
        "minimax_m2" => Family {
            query_key_norm: QueryKeyNorm::PerProjection,
            router_vectors: u64::from(fields.flag("use_routing_bias").unwrap_or(true)),
            ..LLAMA
        },
        "glm4_moe" | "glm4v_moe" => Family {
            query_key_norm: if_set("use_qk_norm"),
            router_vectors: 1,
            ..GLM
        },
        "dots1" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            router_vectors: 1,
            ..LLAMA
        },
        _ => return None,
    })
}

/// Attention and recurrence in turns.
fn hybrid(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "qwen3_next" | "qwen3_5" | "qwen3_5_moe" => Family {
            skeleton: Skeleton::GatedDelta,
            output_gate: true,
            shared_gate: true,
            ..QWEN3
        },
        "nemotron_h" => Family {
            norms: 1,
            gated: false,
            router_vectors: 1,
            skeleton: Skeleton::NemotronH,
            state_dtype: Some(Precision::Fp32),
            ..LLAMA
        },
        "jamba" => Family {
            skeleton: Skeleton::Jamba,
            ..LLAMA
        },
        _ => return None,
    })
}

/// Decoders whose MLP has two matrices.
fn with_plain_mlp(model_type: &str, fields: &Fields<'_>) -> Option<Family> {
    Some(match model_type {
        "gpt2" | "gpt_bigcode" => Family {
            learned_positions: Some(0),
            ..GPT
        },
        "opt" => Family {
            learned_positions: Some(2),
            ..GPT
        },
        "bloom" => Family {
            embedding_norm: true,
            ..GPT
        },
        "gpt_neox" => Family {
            tied_head: false,
            ..GPT
        },
        "phi" => Family {
            tied_head: false,
            norms: 1,
            head_bias: true,
            ..GPT
        },
        "starcoder2" => with_biases(GPT, "use_bias", true),
        "falcon" => Family {
            norms: falcon_norms(fields),
            ..with_biases(GPT, "bias", false)
        },
        "nemotron" => Family {
            tied_head: false,
            qkv_bias: LLAMA.qkv_bias,
            output_bias: LLAMA.output_bias,
            mlp_bias: LLAMA.mlp_bias,
            ..GPT
        },
        _ => return None,
    })
}

/// `family` with all its biases governed by one field.
fn with_biases(family: Family, field: &'static str, default: bool) -> Family {
    let bias = Bias::Field(field, default);
    Family {
        qkv_bias: bias,
        output_bias: bias,
        mlp_bias: bias,
        ..family
    }
}

/// One norm feeds attention and MLP in parallel; the new decoder, and a sequential one, have two.
fn falcon_norms(fields: &Fields<'_>) -> u64 {
    let new_decoder = fields.flag("new_decoder_architecture") == Some(true);
    let sequential = fields.flag("parallel_attn") == Some(false);
    if new_decoder || sequential { 2 } else { 1 }
}
