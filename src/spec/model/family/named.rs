//! The model classes that are known by name.

use super::{
    AttentionRule, Bias, Family, Gate, QueryKeyNorm, RecurrenceKind, Sinks, Skeleton, WindowRule,
};
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
    head_bias: Bias::Never,
    query_key_norm: QueryKeyNorm::None,
    learned_positions: None,
    windows: WindowRule::All,
    skeleton: Skeleton::Sequential,
    recurrence: None,
    attention_rule: AttentionRule::Never,
    gate: Gate::None,
    sinks: Sinks::None,
    expert_bias: false,
    router_vectors: 0,
    shared_gate: false,
    scalars: 0,
    expert_norms: 0,
    state_dtype: None,
    defaults: &[],
};

/// What `LlamaConfig` assumes; multimodal files leave such fields of their text part out.
const LLAMA_DEFAULTS: &[(&str, u64)] = &[
    ("vocab_size", 32_000),
    ("hidden_size", 4096),
    ("intermediate_size", 11_008),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
];

/// What `MistralConfig` assumes.
const MISTRAL_DEFAULTS: &[(&str, u64)] = &[
    ("vocab_size", 32_000),
    ("hidden_size", 4096),
    ("intermediate_size", 14_336),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("num_key_value_heads", 8),
];

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
    defaults: &[("head_dim", 256)],
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

/// Norms before and after each block, one scalar a layer, and further norms around experts that run beside a dense MLP.
const GEMMA4: Family = Family {
    scalars: 1,
    expert_norms: 4,
    router_vectors: 1,
    defaults: &[
        ("vocab_size", 262_144),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("global_head_dim", 512),
        ("sliding_window", 512),
        ("sliding_window_pattern", 6),
        ("hidden_size_per_layer_input", 256),
        ("vocab_size_per_layer_input", 262_144),
    ],
    ..GEMMA3
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
    dense(model_type, fields)
        .or_else(|| with_experts(model_type, fields))
        .or_else(|| hybrid(model_type))
        .or_else(|| with_plain_mlp(model_type, fields))
}

/// Dense decoders with a gated MLP; the classes that differ from them by experts alone too.
fn dense(model_type: &str, fields: &Fields<'_>) -> Option<Family> {
    Some(match model_type {
        "llama" if fields.is_nested() => Family {
            defaults: LLAMA_DEFAULTS,
            ..LLAMA
        },
        "mistral" if fields.is_nested() => Family {
            defaults: MISTRAL_DEFAULTS,
            ..LLAMA
        },
        "llama" | "mistral" | "ministral" | "ministral3" | "pixtral" | "phi3" | "granite"
        | "smollm3" | "internlm2" | "internlm3" | "mixtral" | "granitemoe" | "granitemoeshared"
        | "iquestcoder" | "ernie4_5" | "minicpm" | "minicpm3" | "mimo" | "solar" => LLAMA,
        "granite_swa" | "granitemoe_swa" => Family {
            sinks: Sinks::All,
            ..LLAMA
        },
        "nemotron-nas" => Family {
            skeleton: Skeleton::Described,
            ..LLAMA
        },
        "arcee" => Family {
            gated: false,
            ..LLAMA
        },
        "apertus" => Family {
            gated: false,
            query_key_norm: QueryKeyNorm::PerHead,
            scalars: 4,
            ..LLAMA
        },
        "olmo" => Family {
            norm_parts: 0,
            ..LLAMA
        },
        "stablelm" => Family {
            norm_parts: 2,
            norms: if fields.flag("use_parallel_residual") == Some(true) {
                1
            } else {
                2
            },
            qkv_bias: Bias::Field("use_qkv_bias", false),
            output_bias: Bias::Never,
            ..LLAMA
        },
        "qwen2" | "qwen2_vl" | "qwen2_5_vl" => QWEN2,
        "qwen3" | "qwen3_moe" | "qwen3_vl" | "qwen3_vl_moe" => QWEN3,
        "gemma" => GEMMA,
        "gemma2" => Family {
            norms: 4,
            windows: WindowRule::Even,
            ..GEMMA
        },
        "gemma3" => GEMMA3,
        "gemma4" => GEMMA4,
        "glm" => GLM,
        "glm4" => Family { norms: 4, ..GLM },
        "seed_oss" => Family {
            output_bias: Bias::Field("attention_out_bias", false),
            ..LLAMA
        },
        "exaone4" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            windows: WindowRule::Pattern,
            ..LLAMA
        },
        "olmo2" | "olmo3" | "olmoe" => OLMO2,
        "cohere" | "cohere2" | "cohere2_moe" => Family {
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
        | "mimo_v2_flash" | "mimo_v2" => Family {
            router_vectors: u64::from(fields.string("topk_method") == Some("noaux_tc")),
            windows: WindowRule::Marked,
            sinks: Sinks::Windowed,
            ..LLAMA
        },
        "glm4_moe_lite" | "glm_moe_dsa" => Family {
            router_vectors: 1,
            defaults: &[("first_k_dense_replace", 1)],
            ..LLAMA
        },
        "axk1" => Family {
            router_vectors: 1,
            expert_norms: 1,
            ..LLAMA
        },
        "ernie4_5_moe" | "ernie4_5_vl_moe" => Family {
            router_vectors: 1,
            ..LLAMA
        },
        "exaone_moe" | "hy_v3" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            router_vectors: 1,
            windows: WindowRule::Pattern,
            defaults: &[("first_k_dense_replace", 1)],
            ..LLAMA
        },
        "afmoe" => Family {
            norms: 4,
            query_key_norm: QueryKeyNorm::PerHead,
            gate: Gate::PerElement,
            router_vectors: 1,
            windows: WindowRule::Pattern,
            ..LLAMA
        },
        "laguna" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            gate: Gate::PerHead,
            router_vectors: 1,
            ..LLAMA
        },
        "mellum" => QWEN3,
        "phimoe" => Family {
            norm_parts: 2,
            head_bias: Bias::Field("lm_head_bias", false),
            ..LLAMA
        },
        "dbrx" => LLAMA,
        "llama4" => Family {
            windows: WindowRule::Chunked,
            ..LLAMA
        },
        "qwen2_moe" => Family {
            shared_gate: true,
            ..QWEN2
        },
        "gpt_oss" => Family {
            sinks: Sinks::All,
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

/// Attention and recurrence in turns, or recurrence alone.
fn hybrid(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "qwen3_next" | "qwen3_5" | "qwen3_5_moe" => Family {
            recurrence: Some(RecurrenceKind::GatedDelta),
            attention_rule: AttentionRule::EveryNth,
            gate: Gate::PerElement,
            shared_gate: true,
            ..QWEN3
        },
        "olmo_hybrid" => Family {
            recurrence: Some(RecurrenceKind::GatedDelta),
            attention_rule: AttentionRule::EveryNth,
            ..OLMO2
        },
        "kimi_linear" => Family {
            recurrence: Some(RecurrenceKind::KimiDelta),
            attention_rule: AttentionRule::KimiList,
            router_vectors: 1,
            state_dtype: Some(Precision::Fp32),
            ..LLAMA
        },
        "nemotron_h" => Family {
            norms: 1,
            gated: false,
            router_vectors: 1,
            skeleton: Skeleton::Lettered,
            state_dtype: Some(Precision::Fp32),
            ..LLAMA
        },
        "jamba" => Family {
            recurrence: Some(RecurrenceKind::Mamba1),
            attention_rule: AttentionRule::Period,
            ..LLAMA
        },
        "bamba" => Family {
            recurrence: Some(RecurrenceKind::Mamba2),
            attention_rule: AttentionRule::Listed("attn_layer_indices"),
            ..LLAMA
        },
        "granitemoehybrid" => Family {
            recurrence: Some(RecurrenceKind::Mamba2),
            ..LLAMA
        },
        "falcon_h1" => Family {
            recurrence: Some(RecurrenceKind::Mamba2),
            skeleton: Skeleton::Parallel,
            ..LLAMA
        },
        "mamba" | "falcon_mamba" => Family {
            tied_head: true,
            norms: 1,
            recurrence: Some(RecurrenceKind::Mamba1),
            skeleton: Skeleton::RecurrenceOnly,
            ..LLAMA
        },
        "mamba2" => Family {
            norms: 1,
            recurrence: Some(RecurrenceKind::Mamba2),
            skeleton: Skeleton::RecurrenceOnly,
            ..LLAMA
        },
        "lfm2" | "lfm2_moe" => Family {
            tied_head: true,
            recurrence: Some(RecurrenceKind::ShortConv),
            attention_rule: AttentionRule::Listed("full_attn_idxs"),
            query_key_norm: QueryKeyNorm::PerHead,
            router_vectors: 1,
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
            head_bias: Bias::Always,
            ..GPT
        },
        "gptj" => Family {
            tied_head: false,
            norms: 1,
            qkv_bias: Bias::Never,
            output_bias: Bias::Never,
            head_bias: Bias::Always,
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
